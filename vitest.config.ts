/** `npm test`. Quiet when green; each file of scenarios in a process of its own, so a server it forgot ends with it. */
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { LONG_TESTS } from './test/long-tests.ts';
import { canStart } from './test/scenario/kafka/compose-project.ts';

const COMPOSE = 'test/scenario/kafka/compose-up.test.ts';
const leftOut = (await canStart()) ? [] : [COMPOSE];
if (leftOut.length > 0)
  process.stdout.write('docker compose up: not run here (needs an engine that has the images of docker-compose.yml)\n');
if (process.env['CROSSFADE_TESTS'] === 'short') {
  const covered = LONG_TESTS.filter(({ isCoveredBy }) => isCoveredBy !== undefined).map(({ file }) => file);
  leftOut.push(...covered);
  process.stdout.write(`${covered.length} long files (test/long-tests.ts): left out, npm test -- --all runs them\n`);
}

/** What takes longest begins first, whatever the cache knows. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = new Map(LONG_TESTS.map(({ file }, index) => [file, index]));
    const rankOf = ({ moduleId, project }: TestSpecification): number =>
      rank.get(moduleId.slice(project.config.root.length + 1)) ?? LONG_TESTS.length;
    // oxlint-disable-next-line unicorn/no-array-sort -- it is the sequencer's
    return (await super.sort(files)).toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

// What is polled for comes late on a machine that does much else: vitest's own limit is a second.
const COMMON = { pool: 'forks', testTimeout: 180_000, hookTimeout: 180_000, expect: { poll: { timeout: 20_000 } } } as const;
const EXCLUDED = ['test/prove/**', 'test/bench/**', ...leftOut, '**/node_modules/**'];

export default defineConfig({
  test: {
    projects: [
      // They start next to nothing that could be forgotten: one process for many files spares each a second of starting and loading.
      { test: { ...COMMON, name: 'unit', include: ['test/unit/**/*.test.ts'], exclude: EXCLUDED, isolate: false } },
      {
        test: {
          ...COMMON,
          name: 'scenario',
          include: ['test/**/*.test.ts'],
          exclude: ['test/unit/**', ...EXCLUDED],
        },
      },
    ],
    globalSetup: [
      'test/support/kafka/global-setup.ts', // holds the Kafka that the files share; starts nothing by itself
      'test/support/cli-in-one-file.ts', // what processes of tests are started with
    ],
    maxWorkers: 3, // two cores are what a small machine has; most of a scenario's time something waits
    sequence: { sequencer: LongestFirst },
    teardownTimeout: 20_000,
    silent: 'passed-only',
    reporters: ['dot', 'json'],
    outputFile: { json: '.cache/test.json' },
  },
});
