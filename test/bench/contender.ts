/** What the bench asks of each way to move the data. Guarantee: both are driven by the same calls, in the same places. */
import type { UsageGroup } from './usage.ts';

export interface Contender {
  readonly name: string;
  /** Settings worth a line in the report. */
  readonly setting: string;
  /** Target database's URL of the copy in hand. */
  readonly targetUrl: string;
  /** The source's order of commits is kept on the target: once a row written last is there, all is there. */
  readonly ordered: boolean;
  /** What stands ready before a copy begins; not measured. */
  prepare?(options: CopyOptions): Promise<void>;
  /** Copies; resolves once every row is there and changes are followed, with the time (epoch, ms) at which the last row was there. */
  copy(options: CopyOptions): Promise<number>;
  /** Stops following; the position is kept. Resolves when nothing of it runs. */
  pause(): Promise<void>;
  /** Tells the stopped side to go on; resolves as soon as it was told. */
  resume(): Promise<void>;
  /** @throws Error when a part of it has failed, so that nobody waits for it. */
  check?(): Promise<void>;
  /** Milliseconds since epoch at which it began to stream, where that can be known. */
  streamingSince(): Promise<number | undefined>;
  /** Processes of its own, beside the two clusters. */
  processes(fresh: boolean): readonly UsageGroup[];
  /** Where the time of the last run went, once paused; undefined without profiles. */
  profile(): string | undefined;
  /** Removes what it left on the source and its process; the target database is the caller's. */
  remove(): Promise<void>;
}

export interface CopyOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly tables: readonly string[];
  /** Unique in the run: names slot, publication, data directory. */
  readonly label: string;
}
