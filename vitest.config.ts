/** `npm test`. Quiet when green; each file in a process of its own, so a server it forgot ends with it. */
import { defineConfig } from 'vitest/config';
import { canStart } from './test/scenario/kafka/compose-project.ts';

const COMPOSE = 'test/scenario/kafka/compose-up.test.ts';
const leftOut = (await canStart()) ? [] : [COMPOSE];
if (leftOut.length > 0)
  process.stdout.write('docker compose up: not run here (needs an engine that has the images of docker-compose.yml)\n');

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/prove/**', 'test/bench/**', ...leftOut, '**/node_modules/**'],
    globalSetup: 'test/support/kafka/global-setup.ts', // holds the Kafka that the files share; starts nothing by itself
    pool: 'forks',
    maxWorkers: 2, // two cores are what a small machine has; every scenario starts servers of its own
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    silent: 'passed-only',
    reporters: ['dot', 'json'],
    outputFile: { json: '.cache/test.json' },
  },
});
