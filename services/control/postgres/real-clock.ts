/** The clock of a process. Guarantee: `now` only goes up. */
import { setTimeout as delay } from 'node:timers/promises';
import type { FlipClock } from '../flip/ports.ts';

export const realClock: FlipClock = {
  now: () => performance.now(),
  time: () => new Date().toISOString(),
  delay: async (ms, signal) => delay(ms, undefined, { signal }),
  random: Math.random,
};
