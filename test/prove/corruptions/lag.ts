/**
 * The target held up now and then: its writers wait for a table lock that readers do not mind, for seconds, or for many short moments. Guarantee:
 * `pauses` has every long one from before it began until after it ended.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { openSession } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';

export interface Pause {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Lag extends AsyncDisposable {
  readonly pauses: readonly Pause[];
  stop(): Promise<void>;
}

const BETWEEN_MS = { least: 4_000, most: 12_000 };
const PAUSE_MS = { least: 1_000, most: 8_000 };
const MOMENT_MS = { least: 20, most: 120 };
const MOMENTS = 25;

export async function startLag(url: string, tables: readonly string[], random: Random): Promise<Lag> {
  const session = await openSession(url);
  const pauses: { fromMs: number; toMs: number }[] = [];
  const stop = new AbortController();
  const sleep = async ({ least, most }: typeof PAUSE_MS): Promise<void> => {
    await delay(random.between(least, most), undefined, { signal: stop.signal }).catch(() => undefined);
  };
  const held = async (lengthMs: typeof PAUSE_MS): Promise<void> => {
    await session.query(`BEGIN; LOCK TABLE ${tables[random.between(0, tables.length - 1)]} IN SHARE MODE`);
    await sleep(lengthMs);
    await session.query('COMMIT');
  };
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await sleep(BETWEEN_MS);
      if (random.chance(0.5)) {
        const pause = { fromMs: Date.now(), toMs: Number.POSITIVE_INFINITY };
        pauses.push(pause);
        await held(PAUSE_MS);
        pause.toMs = Date.now();
      } else for (let i = 0; i < MOMENTS && !stop.signal.aborted; i++) await held(MOMENT_MS).then(async () => sleep(MOMENT_MS));
    }
  };
  const running = run();
  running.catch(() => undefined); // thrown again by stop
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return {
    pauses,
    stop: end,
    [Symbol.asyncDispose]: async () => {
      await end().catch(() => undefined);
      await session[Symbol.asyncDispose]();
    },
  };
}
