/**
 * Watches the triggers while the target serves and is observed. Guarantee: a trigger fires once an epoch, with a record in the audit trail before anything is done;
 * one that makes a rollback goes on asking for it, after a restart too, until the state has left `observing`; while nothing is observed it only collects
 * what a baseline needs.
 */
import { messageOf } from '#schemas/errors.ts';
import type { TriggerStatus } from '#schemas/status/status-result.ts';
import { BASELINE_MS, baselineOf, judge } from '#schemas/triggers/evaluate.ts';
import { ARMED_EVENT, FIRED_EVENT, type Situation } from '#schemas/triggers/situation.ts';
import type { Sample, Trigger, TriggerVerdict } from '#schemas/triggers/trigger.ts';
import type { Logger } from '#services/runtime/service.ts';
import { type FeedPorts, look, pastSamples, reportSamples } from './feeds.ts';

export interface TriggerPorts extends FeedPorts {
  nowMs(): number;
  delay(ms: number, signal: AbortSignal): Promise<void>;
  /** Undefined: there is nothing to watch. @throws when the target cannot be asked */
  situation(): Promise<Situation | undefined>;
  /** A record of the audit trail. */
  note(event: string, details: Readonly<Record<string, unknown>>): Promise<void>;
  /** Begins one, or finds it begun; resolves when it is done or given up. */
  startRollback(reason: string): Promise<void>;
}

const EVERY_MS = 5_000;
/** A rollback that was backed out is tried again, but not without a pause. */
const ROLLBACK_EVERY_MS = 60_000;

export class TriggerWatch {
  readonly #triggers: readonly Trigger[];
  readonly #ports: TriggerPorts;
  readonly #logger: Logger;
  readonly #samples = new Map<string, Sample[]>();
  #verdicts: readonly TriggerVerdict[] = [];
  /** In this epoch. */
  #fired: ReadonlySet<string> = new Set();
  #lastRollbackMs = Number.NEGATIVE_INFINITY;

  constructor(triggers: readonly Trigger[], ports: TriggerPorts, logger: Logger) {
    this.#triggers = triggers;
    this.#ports = ports;
    this.#logger = logger;
  }

  /** As last judged; none while nothing is observed. */
  get verdicts(): readonly TriggerVerdict[] {
    return this.#verdicts;
  }

  status(): TriggerStatus[] {
    return this.#verdicts.map((verdict) => ({
      ...verdict,
      action: this.#triggers.find(({ name }) => name === verdict.name)!.action,
      hasFired: this.#fired.has(verdict.name),
    }));
  }

  /** Until the signal fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#triggers.length === 0) return;
    while (!signal.aborted) {
      await this.tick().catch((error: unknown) => this.#logger.warn({ error: messageOf(error) }, 'The triggers could not be judged'));
      await this.#ports.delay(EVERY_MS, signal).catch(() => undefined);
    }
  }

  /** One look at everything. */
  async tick(): Promise<void> {
    await this.#sample();
    const situation = await this.#ports.situation();
    if (situation === undefined) {
      this.#verdicts = [];
      return;
    }
    const minutes = await this.#ports.reports();
    const at = { flippedAtMs: situation.flippedAtMs, nowMs: this.#ports.nowMs() };
    const samples = new Map(
      this.#triggers.map((one) => [
        one.name,
        one.feed.kind === 'reports' ? reportSamples(one, minutes, at) : (this.#samples.get(one.name) ?? []),
      ]),
    );
    const baselines = situation.baselines ?? (await this.#arm(situation, samples));
    this.#verdicts = this.#triggers.map((one) => judge(one, { samples: samples.get(one.name)!, ...at, baseline: baselines[one.name] }));
    this.#fired = situation.fired;
    await this.#act(situation);
  }

  async #sample(): Promise<void> {
    const nowMs = this.#ports.nowMs();
    await Promise.all(
      this.#triggers.map(async (trigger) => {
        const sample = await look(trigger, this.#ports, nowMs);
        if (sample === undefined) return;
        const kept = (this.#samples.get(trigger.name) ?? []).filter(({ atMs }) => atMs > nowMs - trigger.windowMs - BASELINE_MS);
        this.#samples.set(trigger.name, [...kept, sample]);
      }),
    );
  }

  /** Baselines are of before the flip, and stay what they are. One that is not known stays unknown. */
  async #arm({ epoch, flippedAtMs }: Situation, samples: ReadonlyMap<string, readonly Sample[]>): Promise<Record<string, number>> {
    const baselines: Record<string, number> = {};
    for (const trigger of this.#triggers.filter(({ kind }) => kind === 'slow')) {
      const past = await pastSamples(trigger, this.#ports, flippedAtMs);
      const baseline = baselineOf(trigger, past.length > 0 ? past : samples.get(trigger.name)!, flippedAtMs);
      if (baseline !== undefined) baselines[trigger.name] = baseline;
      else this.#logger.warn({ trigger: trigger.name }, 'The trigger has no baseline: too little was measured before the cut-over');
    }
    await this.#ports.note(ARMED_EVENT, { epoch, triggers: this.#triggers.map(({ name }) => name), baselines });
    return baselines;
  }

  async #act({ epoch, fired }: Situation): Promise<void> {
    const reasons: string[] = [];
    for (const trigger of this.#triggers) {
      const verdict = this.#verdicts.find(({ name }) => name === trigger.name)!;
      const isNew = verdict.state === 'fired' && !fired.has(trigger.name);
      if (isNew) {
        this.#fired = new Set([...this.#fired, trigger.name]);
        const { value, limit, evidence } = verdict;
        await this.#ports.note(FIRED_EVENT, { trigger: trigger.name, epoch, action: trigger.action, value, limit, evidence });
        this.#logger.error({ trigger: trigger.name, action: trigger.action, evidence }, 'A rollback trigger has fired');
      }
      if (trigger.action === 'rollback' && (isNew || fired.has(trigger.name))) reasons.push(`trigger ${trigger.name}: ${verdict.evidence}`);
    }
    const nowMs = this.#ports.nowMs();
    if (reasons.length === 0 || nowMs - this.#lastRollbackMs < ROLLBACK_EVERY_MS) return;
    this.#lastRollbackMs = nowMs;
    await this.#ports.startRollback(reasons.join('; '));
  }
}
