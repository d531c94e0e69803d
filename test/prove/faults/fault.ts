/** A fault of the pipeline, put in on purpose. */
import type { TargetStore } from '#connectors/target/target.ts';
import type { EventLog } from './event-log.ts';

export interface Fault {
  readonly name: string;
  /** The target's table that it damages at least. */
  readonly table: string;
  /** Changes the log on its way to the sink. @returns keys that it damages (as keyText names them), where it knows them */
  readonly tamper?: (log: EventLog) => readonly string[];
  /** The file's entries as a wrong mapping function would take them. */
  readonly tables?: (entries: string) => string;
  /** A store that does not do what it is told. */
  readonly wrap?: (store: TargetStore) => TargetStore;
  /** It must turn out to change nothing: that is shown, and it is no fault. */
  readonly isHarmless?: true;
}
