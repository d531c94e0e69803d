/**
 * What the project has to show, line by line, and the test that shows it in its small form each time plain `npm test` runs. Guarantee
 * (test/unit/prove/must-show.test.ts): each of them is there and is not among what that leaves out (test/long-tests.ts).
 */

/** Where: a proof's small form by its name, or a file of test/scenario (of test/unit where it says so) and words of the test's name. */
export type Shown = { readonly proof: string } | { readonly file: string; readonly test: string };

export interface MustShow {
  readonly of: 'one process' | 'Kafka' | 'mapping' | 'reconciler' | 'cut-over';
  readonly line: string;
  /** Empty only where a command shows it itself. */
  readonly by: readonly Shown[];
  readonly command?: string;
}

const proof = (name: string): Shown => ({ proof: name });
const scenario = (file: string, test: string): Shown => ({ file: `test/scenario/${file}.test.ts`, test });
const unit = (file: string, test: string): Shown => ({ file: `test/unit/${file}.test.ts`, test });

export const MUST_SHOW: readonly MustShow[] = [
  { of: 'one process', line: 'the demo ends in under three minutes with verify at 0 differences', by: [], command: 'npm run demo' },
  {
    of: 'one process',
    line: 'Chinook and Pagila moved under writers, also renamed',
    by: [proof('chinook-least-privilege'), proof('pagila-renamed')],
  },
  {
    of: 'one process',
    line: 'roles with few privileges, TLS verify-full, the GRANT blocks of the README',
    by: [proof('chinook-least-privilege')],
  },
  { of: 'one process', line: '100 SIGKILLs: equal, nothing of the stream committed twice', by: [proof('kill-100')] },
  { of: 'one process', line: 'two adjacent commits, SIGKILL: the second arrives', by: [proof('adjacent-commits')] },
  {
    of: 'one process',
    line: 'guards of the copy, each red when switched off',
    by: [scenario('copy/guards', 'without the guard'), scenario('copy/visibility', 'is read again also by a reader')],
  },
  {
    of: 'one process',
    line: 'random values of every type, copied and streamed',
    by: [proof('types-14'), proof('casts'), scenario('wire-types', 'every type')],
  },
  { of: 'one process', line: 'one transaction of 5,000,000 changes, in bounded memory', by: [proof('big-transaction')] },
  { of: 'one process', line: 'readers of the target never see a wrong sum', by: [proof('money-transfers')] },
  { of: 'one process', line: 'bench beside native replication', by: [], command: 'npm run bench' },

  { of: 'Kafka', line: 'the demo’s migration over Kafka', by: [proof('kafka-shop')] },
  { of: 'Kafka', line: '100 kills and stops over Kafka', by: [proof('kafka-kill-100')] },
  { of: 'Kafka', line: 'rebalance storm', by: [proof('kafka-rebalance-storm')] },
  {
    of: 'Kafka',
    line: 'Debezium before us and behind us',
    by: [scenario('kafka/debezium-source', 'through a kill of each of the services'), scenario('kafka/debezium-sink', 'writes Chinook')],
  },
  {
    of: 'Kafka',
    line: 'docker compose up',
    by: [scenario('kafka/compose-up', 'moves the shop while it is open'), scenario('kafka/compose', 'maps what the demo maps')],
  },
  { of: 'Kafka', line: 'the broker away for 60 s', by: [proof('kafka-outage')] },
  { of: 'Kafka', line: 'bench beside Debezium and the JDBC sink', by: [], command: 'npm run bench' },

  {
    of: 'mapping',
    line: 'the demo’s mapping uses every shape; the example for Pagila, clean under load and SIGKILLs',
    by: [unit('services/demo/shop', 'uses every shape'), proof('pagila-redesigned')],
  },
  { of: 'mapping', line: 'surrogate keys: children before parents, no id twice over crashes', by: [proof('surrogate-keys')] },
  {
    of: 'mapping',
    line: 'time zones, rounding and hashes as PostgreSQL has them',
    by: [
      scenario('steps-against-postgres', 'local times of every zone around each transition of 2020 to 2027'),
      scenario('steps-against-postgres', 'rounded once'),
      scenario('verify/canonical-digest', 'has the same digests'),
    ],
  },
  { of: 'mapping', line: 'Redis: replays and reorderings end equal, and at what rate', by: [proof('redis-replays'), proof('redis-rate')] },
  {
    of: 'mapping',
    line: 'broken files with their messages; init on Pagila and Chinook runs as written',
    by: [unit('schemas/config/broken-files', 'every broken file has its messages'), scenario('init', 'gives a file that runs as written')],
  },
  {
    of: 'mapping',
    line: 'what identity and ten steps cost',
    by: [proof('mapping-cost'), unit('services/sink/row-image', 'a mapping of ten steps')],
  },

  {
    of: 'reconciler',
    line: 'no false alarm under writes and lag; corruptions found in time, repaired, verified',
    by: [proof('corruptions')],
  },
  { of: 'reconciler', line: 'the gate’s comparison in 5 s', by: [proof('gate-compare')] },
  { of: 'reconciler', line: 'faults of the pipeline caught by the reconciler alone', by: [proof('pipeline-faults')] },
  {
    of: 'reconciler',
    line: 'rows a second per core, bytes moved, what the source’s writers lose',
    by: [proof('sweep-rate'), proof('canonical-rate'), proof('sweep-load')],
  },
  { of: 'reconciler', line: 'a Redis target compared', by: [proof('redis-compare')] },
  { of: 'reconciler', line: 'the demo corrupts three rows, which are named and repaired', by: [], command: 'npm run demo' },

  {
    of: 'cut-over',
    line: 'cut-overs and rollbacks in a row under writes, no acknowledged write lost',
    by: [proof('flips'), scenario('cutover/flip-under-load', 'none that was acknowledged is lost')],
  },
  {
    of: 'cut-over',
    line: 'SIGKILL at every step',
    by: [
      scenario('cutover/flip-kills', 'a flip killed here or there'),
      scenario('cutover/rename-swap', 'a process killed in the middle leaves all or nothing'),
    ],
  },
  {
    of: 'cut-over',
    line: 'each failure at each step: aborted, writes flow, the audit says why',
    by: [scenario('cutover/flip-failures', 'backed out')],
  },
  {
    of: 'cut-over',
    line: 'waves: three tenants, the second rolled back alone',
    by: [scenario('cutover/waves', 'the second is rolled back alone')],
  },
  {
    of: 'cut-over',
    line: 'rename swap without a failed read; dual writes with conflicts settled',
    by: [
      scenario('cutover/rename-swap', 'no read and no write fails'),
      scenario('cutover/dual-write', 'conflicts are counted and settled'),
    ],
  },
  {
    of: 'cut-over',
    line: 'a trigger rolls back at 2 % of errors; the OFREP provider follows a flip within 1 s',
    by: [
      scenario('cutover/trigger-rolls-back', '2 % of errors'),
      scenario('flags/follows-flips', 'reaches the SDK and the client within a second'),
    ],
  },
  { of: 'cut-over', line: 'the demo goes on to the sign-off', by: [], command: 'npm run demo' },
  {
    of: 'cut-over',
    line: 'report and runbook are readable documents',
    by: [scenario('cutover/report', 'the report says'), scenario('cutover/runbook', 'the runbook names')],
  },
];
