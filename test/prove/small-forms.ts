/**
 * Which test file runs the small form of which proof: test/scenario/proofs/GROUP.test.ts. Guarantee (test/unit/prove/small-forms.test.ts): each
 * proof is in one group. Files, because each is run by one worker at a time, and is what plain `npm test` leaves out or not (test/long-tests.ts).
 */
export const SMALL_FORMS: Readonly<Record<string, readonly string[]>> = {
  pipeline: [
    'kill-100',
    'types-14',
    'adjacent-commits',
    'chinook-least-privilege',
    'pagila-renamed',
    'money-transfers',
    'casts',
    'big-transaction',
  ],
  mapping: ['surrogate-keys', 'pagila-redesigned', 'redis-replays', 'mapping-cost', 'redis-rate'],
  reconciler: ['corruptions', 'sweep-rate', 'redis-compare', 'gate-compare', 'pipeline-faults', 'sweep-load', 'canonical-rate'],
  flips: ['flips'],
  'over-kafka': ['kafka-rebalance-storm', 'kafka-outage', 'kafka-kill-100', 'kafka-shop'],
  // Left out by plain `npm test`.
  'red-twins': [
    'kill-100-is-red-without-duplicate-rule',
    'kafka-kill-100-is-red-without-duplicate-rule',
    'adjacent-commits-is-red-with-library-ack',
    'corruptions-is-red-without-its-guard',
    'mapping-cost-red',
    'pipeline-faults-red',
    'surrogate-keys-is-red-without-its-guard',
  ],
  'other-versions': ['types-18', 'chinook', 'chinook-renamed', 'pagila'],
  'with-kills': ['flip-kills', 'swap-kills', 'two-targets', 'redis-kills'],
};
