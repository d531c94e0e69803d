/**
 * Two transactions whose commit records touch: the second begins where the first ends. The first is made durable by us and confirmed
 * to the slot, then the process is killed before the second reaches it. Made certain, not likely: the second one commits with
 * synchronous_commit off on a server whose WAL writer sleeps, so the walsender cannot send it before we ask for a flush.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { messageOf } from '#schemas/errors.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { openProofStage, type ProofStage, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

const SHAPES = 'create table entry (id integer primary key, note text not null)';
/** Our own heartbeat would flush the second commit. */
const FILE = 'tables:\n  - from: public.entry\nheartbeatSeconds: 3600';
const CONFIRM_PATIENCE_MS = 30_000;
const TRIES_PER_PAIR = 20;
const KILLS_PER_PAIR = 4;
const BALLAST_BYTES = 200_000;

export const adjacentCommitsProof: Proof = {
  name: 'adjacent-commits',
  claim: 'of two adjacent commits, the first durable, then SIGKILL: the second arrives',
  expectedSeconds: 60,
  run: async (context) => {
    const pairs = context.size === 'full' ? 10 : 1;
    const lost = await runPairs(context, pairs, {});
    if (lost > 0) throw new Error(`the second commit was lost ${lost} times of ${pairs}`);
    return { pairs, lost } satisfies Figures;
  },
};

/** With the library's own acknowledge (LSN + 1) the same run must be red: the second commit does not arrive, or the reader sees it and stops. */
export const adjacentCommitsRedProof: Proof = {
  name: 'adjacent-commits-is-red-with-library-ack',
  claim: `with the library's acknowledge of LSN + 1 the same run is red`,
  expectedSeconds: 30,
  run: async (context) => {
    const red = await runPairs(context, 1, { CROSSFADE_TEST_DISABLE: 'library-ack' }).then(
      (lost) => (lost > 0 ? 'the second commit was lost' : undefined),
      (error: unknown) =>
        messageOf(error).includes('CF-2004') ? 'the slot had passed what is durable: refused with CF-2004' : Promise.reject(error),
    );
    if (red === undefined) throw new Error('nothing was lost with the acknowledge of LSN + 1: the test above proves nothing');
    return { red } satisfies Figures;
  },
};

async function runPairs({ say }: ProofContext, pairs: number, env: Readonly<Record<string, string>>): Promise<number> {
  // fsync stays on: with it off, some WAL is written through at once.
  const settings = {
    wal_writer_delay: '10s',
    wal_writer_flush_after: '1GB',
    autovacuum: 'off',
    bgwriter_lru_maxpages: '0',
    checkpoint_timeout: '1h',
  };
  await using stage = await openProofStage({
    name: 'adjacent',
    source: { durable: true, settings },
    file: FILE,
    sourceSql: SHAPES,
    targetSql: SHAPES,
  });
  await runUntilCaughtUp(stage);
  let lost = 0;
  for (let pair = 1; pair <= pairs; pair++) {
    const first = await killBetween(stage, pair, env);
    await runUntilCaughtUp({ ...stage, pipeline: { ...stage.pipeline, env } });
    const arrived = await execute(stage.targetUrl, `select id from entry where id between ${first} and ${first + 2} order by id`);
    const ids = arrived.map((row) => Number(row['id']) - first);
    say(`pair ${pair}: arrived ${ids.join(', ')} of 0, 1, 2`);
    if (!ids.includes(0) || !ids.includes(2)) throw new Error(`pair ${pair}: a commit beside the second one is missing: ${ids.join(', ')}`);
    if (!ids.includes(1)) lost++;
  }
  return lost;
}

/** @returns the id of the first row; the second is one higher. */
async function killBetween(stage: ProofStage, pair: number, env: Readonly<Record<string, string>>): Promise<number> {
  for (let kill = 0; kill < KILLS_PER_PAIR; kill++) {
    const first = await confirmFirstThenKill(stage, pair * 1_000 + kill * 10 * TRIES_PER_PAIR, env);
    if (first !== undefined) return first;
  }
  throw new Error(`each of ${KILLS_PER_PAIR} times the WAL writer came before the kill`);
}

/** Undefined: between the last look and the kill, the second commit went its way after all. */
async function confirmFirstThenKill(stage: ProofStage, base: number, env: Readonly<Record<string, string>>): Promise<number | undefined> {
  await using pipeline = Pipeline.start({ ...stage.pipeline, env });
  await untilFollowing(pipeline);
  await using witness = await openWitness(stage);
  for (let attempt = 0; attempt < TRIES_PER_PAIR; attempt++) {
    const first = base + attempt * 10;
    const end = await commitPair(stage, first);
    await untilConfirmed(stage, end);
    if (await witness.held(end)) {
      await pipeline.kill();
      const [second] = await execute(stage.targetUrl, `select id from entry where id = ${first + 1}`);
      if (second !== undefined || !(await witness.held(end))) return undefined;
      // A commit after the pair, by which its arrival can be judged; it also flushes the second one at last.
      await execute(stage.sourceUrl, `insert into entry values (${first + 2}, 'later')`);
      if (await witness.adjacent(first)) return first;
      throw new Error('the two commit records do not touch though the WAL showed nothing between them');
    }
    // Something else flushed the second commit in time to be confirmed too: not the case we want.
    await delay(50);
  }
  throw new Error(`no pair of ${TRIES_PER_PAIR} was caught with the first commit confirmed and the second not`);
}

/** Both have their rows written before either commits, so nothing lies between the two commit records. */
async function commitPair(stage: ProofStage, first: number): Promise<string> {
  await using one = await openSession(stage.sourceUrl);
  await using two = await openSession(stage.sourceUrl);
  await two.query('set synchronous_commit = off');
  for (const [session, id] of [
    [one, first],
    [two, first + 1],
  ] as const satisfies readonly (readonly [ApplicationSession, number])[]) {
    await session.query('begin');
    await session.query(`insert into entry values (${id}, 'pair')`);
  }
  // The slot is moved soon only when much was written.
  await one.query(`select pg_logical_emit_message(true, 'ballast', repeat('x', ${BALLAST_BYTES}))`);
  await one.query('commit');
  await two.query('commit');
  // Nothing waits for the second commit's WAL, so what is flushed ends with the first one's record.
  const [flushed] = await two.query('select pg_current_wal_flush_lsn() as lsn');
  return flushed?.['lsn'] ?? '';
}

async function untilConfirmed(stage: ProofStage, lsn: string): Promise<void> {
  const deadline = Date.now() + CONFIRM_PATIENCE_MS;
  await using session = await openSession(stage.sourceUrl);
  for (;;) {
    const [row] = await session.query(
      `select bool_or(confirmed_flush_lsn >= '${lsn}') as done from pg_replication_slots where slot_name <> 'witness'`,
    );
    if (row?.['done'] === 't') return;
    if (Date.now() > deadline) throw new Error(`the slot was not confirmed up to ${lsn}`);
    await delay(5);
  }
}

interface Witness extends AsyncDisposable {
  /** True while our slot stands exactly at the first commit's end (or one byte past it, as the library would have it). */
  held(end: string): Promise<boolean>;
  /** By a second slot's own reading of the WAL: the second commit record begins where the first ends. */
  adjacent(first: number): Promise<boolean>;
}

async function openWitness(stage: ProofStage): Promise<Witness> {
  await execute(stage.sourceUrl, `create publication witness for table entry`);
  await execute(stage.sourceUrl, `select pg_create_logical_replication_slot('witness', 'pgoutput')`);
  return {
    held: async (end) => {
      const [row] = await execute(
        stage.sourceUrl,
        `select bool_and(confirmed_flush_lsn - '${end}'::pg_lsn <= 1) as held from pg_replication_slots where slot_name <> 'witness'`,
      );
      return row?.['held'] === 't';
    },
    adjacent: async (first) => {
      const messages = await execute(
        stage.sourceUrl,
        `select encode(data, 'hex') as data from pg_logical_slot_peek_binary_changes('witness', null, null, 'proto_version', '1', 'publication_names', 'witness')`,
      );
      const commits = commitsOf(messages.map((row) => Buffer.from(row['data'] ?? '', 'hex')));
      const [a, b] = [commits.get(String(first)), commits.get(String(first + 1))];
      return a !== undefined && b !== undefined && a.end === b.start;
    },
    [Symbol.asyncDispose]: async () => {
      await execute(stage.sourceUrl, `select pg_drop_replication_slot('witness')`, 'drop publication witness');
    },
  };
}

interface CommitRecord {
  readonly start: bigint;
  readonly end: bigint;
}

/** By the first column's text of the transaction's last inserted row. Commit message: tag, flags, commit LSN, end LSN. */
function commitsOf(messages: readonly Buffer[]): ReadonlyMap<string, CommitRecord> {
  const commits = new Map<string, CommitRecord>();
  let id = '';
  for (const message of messages) {
    const tag = String.fromCharCode(message[0] ?? 0);
    // Insert: tag, relation (4), 'N', columns (2), 't', length (4), text.
    if (tag === 'I') id = message.toString('utf8', 13, 13 + message.readUInt32BE(9));
    if (tag === 'C') commits.set(id, { start: message.readBigUInt64BE(2), end: message.readBigUInt64BE(10) });
  }
  return commits;
}
