/**
 * What takes longest, longest first. All of it runs in CI and with `npm test -- --all`, begun first, so that no core waits for the other one at the end. Plain `npm test`
 * leaves out what a shorter test or a small proof claims, too.
 */
export const LONG_TESTS: readonly { readonly file: string; readonly isCoveredBy?: string }[] = [
  { file: 'test/scenario/proofs.test.ts' },
  { file: 'test/scenario/shapes.test.ts', isCoveredBy: 'the demo, the proof pagila-redesigned' },
  { file: 'test/scenario/kafka/debezium-source.test.ts' },
  { file: 'test/scenario/demo.test.ts', isCoveredBy: '`npm run demo`' },
  { file: 'test/scenario/check-source.test.ts' },
  { file: 'test/scenario/kafka/lost-topics.test.ts' },
  { file: 'test/scenario/kafka/end-to-end.test.ts' },
  { file: 'test/scenario/fence-compare/fence-under-load.test.ts', isCoveredBy: 'fence-compare.test.ts, flip-under-load.test.ts' },
  { file: 'test/scenario/kafka/verify.test.ts' },
  { file: 'test/scenario/kept-rows.test.ts', isCoveredBy: 'sink/kept-rows.test.ts' },
  { file: 'test/scenario/kafka/schema-changes.test.ts' },
  { file: 'test/scenario/surrogate-keys.test.ts', isCoveredBy: 'the proof surrogate-keys' },
  { file: 'test/scenario/init.test.ts' },
  { file: 'test/scenario/kafka/retention.test.ts' },
  { file: 'test/scenario/kafka/changed-file.test.ts' },
  { file: 'test/scenario/reverse/reverse-kills.test.ts', isCoveredBy: 'reverse-path.test.ts, the proof flip-kills' },
  { file: 'test/scenario/command-line.test.ts' },
  { file: 'test/scenario/dead-letters-survive-kills.test.ts', isCoveredBy: 'dead-letters.test.ts, sink/sets-rows-aside.test.ts' },
  { file: 'test/scenario/kafka/by-hand.test.ts' },
  { file: 'test/scenario/pagila-example.test.ts', isCoveredBy: 'the proof pagila-redesigned' },
  { file: 'test/scenario/redis/verify-under-writes.test.ts', isCoveredBy: 'the proof redis-compare' },
  { file: 'test/simulator/kafka-pipeline.test.ts', isCoveredBy: 'the proof kafka-kill-100' },
  { file: 'test/simulator/gather-protocol.test.ts', isCoveredBy: 'the unit tests of connectors/change-log' },
  { file: 'test/scenario/cutover/flip-kills.test.ts', isCoveredBy: 'the proof flip-kills' },
  { file: 'test/scenario/deterministic-keys.test.ts', isCoveredBy: 'the unit tests of schemas/mapping, the demo' },
  { file: 'test/scenario/computed-columns.test.ts', isCoveredBy: 'steps-against-postgres.test.ts' },
  { file: 'test/scenario/sink/random-refusals.test.ts', isCoveredBy: 'sink/sets-rows-aside.test.ts' },
  { file: 'test/scenario/sink/random-histories.test.ts', isCoveredBy: 'the proof kill-100' },
];
