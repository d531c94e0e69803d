/** Which step a flip is in and how long each took. Guarantee: a step that fails is told with its time, too. */
import { messageOf } from '#schemas/errors.ts';
import type { FlipClock, FlipStep } from './ports.ts';

export interface StepReport {
  readonly step: FlipStep;
  readonly ms: number;
  /** What is worth knowing of it, in words. */
  readonly note?: string;
  /** It failed with this. */
  readonly error?: string;
}

export type OnStep = (report: StepReport) => void;

export class StepLog {
  readonly steps: StepReport[] = [];
  #current: FlipStep = 'lease';
  readonly #clock: FlipClock;
  readonly #onStep: OnStep;

  constructor(clock: FlipClock, onStep: OnStep) {
    this.#clock = clock;
    this.#onStep = onStep;
  }

  /** The last one that was begun. */
  get current(): FlipStep {
    return this.#current;
  }

  async run<T>(step: FlipStep, work: () => Promise<T>, note?: (result: T) => string | undefined): Promise<T> {
    this.#current = step;
    const began = this.#clock.now();
    try {
      const result = await work();
      const said = note?.(result);
      this.#add({ step, ms: this.#clock.now() - began, ...(said !== undefined && { note: said }) });
      return result;
    } catch (error) {
      this.#add({ step, ms: this.#clock.now() - began, error: messageOf(error) });
      throw error;
    }
  }

  /** Of a step that was run several times all of them. */
  timings(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { step, ms } of this.steps) sums[step] = Math.round(((sums[step] ?? 0) + ms) * 10) / 10;
    return sums;
  }

  #add(report: StepReport): void {
    this.steps.push(report);
    this.#onStep(report);
  }
}
