/** Thousands of seeded histories of operators that are killed, sleep, and act two at once; each guard left out must be noticed. */
import { afterEach, describe, expect, test } from 'vitest';
import { MIGRATION_STATES, type MigrationState } from '#schemas/migration/transitions.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { ModelGuard } from '#test/support/migration-model.ts';
import { play } from '#test/support/migration-play.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const SEEDS = 4_000;
const STEPS = 300;

afterEach(() => installTestHooks({}));

function firstFailure(without: readonly ModelGuard[], seeds: number, seen = new Set<MigrationState>()): string | undefined {
  const first = seedFromEnvironment();
  for (let seed = first; seed < first + seeds; seed++) {
    const wrong = play(seeded(seed), { steps: STEPS, without, seen });
    if (wrong !== undefined) return `CROSSFADE_SEED=${seed}: ${wrong}`;
  }
  return undefined;
}

test('at most one side is written, no write is lost, and every crash is recovered from', () => {
  const seen = new Set<MigrationState>();
  expect(firstFailure([], SEEDS, seen)).toBeUndefined();
  // The histories come to every state that an operator can bring about without a comparison or a signature.
  expect(MIGRATION_STATES.filter((state) => !seen.has(state))).toEqual(['verified', 'signed-off', 'cleaned-up']);
});

describe('without a guard it is not so', () => {
  test.each<ModelGuard>(['lease', 'barrier', 'lift-epoch', 'recovery', 'target-fence'])('%s', (guard) => {
    expect(firstFailure([guard], SEEDS * 5)).toBeDefined();
  });

  test.each(['settle', 'settle-echo', 'lift-echo'])('%s', (guard) => {
    installTestHooks({ disabledGuards: [guard] });
    expect(firstFailure([], SEEDS * 5)).toBeDefined();
  });
});
