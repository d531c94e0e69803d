/**
 * Under which plan a target runs. Guarantee: recorded on the target (PostgreSQL) once it is taken over, and tried again for one that went away in
 * between, so that whoever was given a signed plan leaves no target that is bound to none.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type PlanRecord, recordPlan } from '#connectors/target/postgres/plan-record.ts';
import { messageOf } from '#schemas/errors.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { TargetMigration } from './read-migration.ts';

const RETRY_MS = 2_000;

export class PlanKeeper {
  readonly #target: TargetMigration;
  #record: PlanRecord | undefined;

  constructor(target: TargetMigration) {
    this.#target = target;
  }

  /** As the target says; undefined: nothing is recorded. */
  get record(): PlanRecord | undefined {
    return this.#record;
  }

  async keep(): Promise<void> {
    const { file, migration } = this.#target;
    if (file.target.postgres !== undefined) this.#record = await recordPlan(file.target.postgres, file.name, migration.plan);
  }

  /** Of one that others do not wait for. Never rejects. */
  async keepLate(signal: AbortSignal, logger: Logger): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.keep();
        return;
      } catch (error) {
        logger.warn({ error: messageOf(error) }, 'The plan could not be recorded on the target yet');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}
