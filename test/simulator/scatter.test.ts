/**
 * Readers that follow one another over a Kafka that fails, answers late and stores things after their failure was told; replaced readers go
 * on writing. From one seed each: the log that the segments name is every transaction of the source once, in order, with exactly its rows,
 * and nothing that was told durable is ever gone.
 */
import { expect, test } from 'vitest';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { PipelineError } from '#schemas/errors.ts';
import { decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import * as frames from '#test/support/frames.ts';
import { MemoryKafka, type MemoryCluster } from '#test/support/memory-cluster.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { catalogTable, flagNames, readScattered, type ScatteredRow } from '#test/support/scattered-log.ts';

const WORLDS = 150;
const TRANSACTIONS = 25;
const READERS_MAX = 40;
const OIDS = [100, 200, 300];
const TABLES = OIDS.map((oid) => catalogTable({ oid, name: `t${oid}`, columns: ['id', 'body'], key: oid === 300 ? [] : ['id'] }));

interface Transaction {
  readonly lsn: number;
  readonly frames: readonly Buffer[];
  /** What its rows have to say, in the order of frames. */
  readonly rows: readonly string[];
}

/** Each relation is described when it is first seen, as a walsender does in each session. */
function transaction(lsn: number, random: Random): Transaction {
  const of: Buffer[] = [frames.begin(BigInt(lsn), lsn)];
  const rows: string[] = [];
  for (let i = random.between(0, 6); i > 0; i--) {
    const oid = OIDS[random.between(0, 2)]!;
    const id = `${lsn}-${i}`;
    const kind = oid === 300 ? 0 : random.between(0, 3);
    if (kind <= 1) {
      of.push(frames.insert(oid, [id, 'new']));
      rows.push(`${oid} c ${id}`);
    } else if (kind === 2) {
      of.push(frames.remove(oid, [id, null]));
      rows.push(`${oid} d ${id}`);
    } else {
      of.push(frames.update(oid, [`${id}'`, undefined], { kind: 'K', values: [id, null] }));
      rows.push(`${oid} c ${id}' from ${id}`, `${oid} d ${id}`);
    }
  }
  of.push(frames.commit(BigInt(lsn), BigInt(lsn + 1)));
  return { lsn, frames: of, rows };
}

function relations(): Buffer[] {
  return OIDS.map((oid) => frames.relation({ oid, name: `t${oid}`, columns: [{ name: 'id', key: oid !== 300 }, { name: 'body' }] }));
}

interface Session {
  readonly topic: ScatterTopic;
  /** Appends begun. */
  readonly under: Promise<unknown>[];
}

class ScatterWorld {
  readonly random: Random;
  readonly kafka: MemoryKafka;
  readonly registry = memoryRegistry();
  readonly source: readonly Transaction[];
  /** The last commit that was told durable. */
  durable = 0;
  #epoch = 0;
  readonly #zombies: { readonly topic: ScatterTopic; readonly cluster: MemoryCluster }[] = [];

  constructor(seed: number) {
    this.random = seeded(seed);
    this.kafka = new MemoryKafka({ random: this.random, failureRate: 0.04, fetchRecordsMax: 5 });
    this.source = Array.from({ length: TRANSACTIONS }, (_, i) => transaction(10 * (i + 1), this.random));
  }

  #open(): { readonly topic: ScatterTopic; readonly cluster: MemoryCluster } {
    const cluster = this.kafka.client();
    const format = avroFormat(this.registry, { name: 'sim' });
    const tableOf = ({ oid }: { readonly oid: number }): (typeof TABLES)[number] | undefined => TABLES.find((table) => table.oid === oid);
    return { topic: new ScatterTopic({ cluster, name: 'sim', format, database: 'db', partitions: 2, tableOf }), cluster };
  }

  /** Until everything of the source is durable. */
  async run(): Promise<number> {
    let reader = this.#open();
    for (let session = 1; session <= READERS_MAX; session++) {
      const under: Promise<unknown>[] = [];
      if (await this.#session(reader.topic, under)) return session;
      // The same process again, once it has settled; or another one, after its end or beside it while it does not know that yet.
      if (this.random.chance(0.4)) await Promise.all(under);
      else {
        if (this.random.chance(0.5)) reader.cluster.crash();
        else this.#zombies.push(reader);
        reader = this.#open();
      }
    }
    throw new Error(`not everything arrived in ${READERS_MAX} sessions`);
  }

  /** @returns true once all is durable. */
  async #session(topic: ScatterTopic, under: Promise<unknown>[]): Promise<boolean> {
    const epoch = ++this.#epoch;
    try {
      await topic.begin(epoch);
    } catch (error) {
      if (error instanceof PipelineError) return false;
      throw error;
    }
    const last = Number(topic.lastCommit()?.commitLsn ?? 0n);
    if (last < this.durable) throw new Error(`commit ${this.durable} was durable, and the log ends with ${last}`);
    const next = this.source.findIndex((each) => each.lsn > last);
    if (next < 0) return true;
    const of = [
      encodeJsonFrame(FRAME.epoch, { epoch, systemId: 's', timeline: 1 }),
      ...this.source.slice(next).flatMap((each) => each.frames),
    ];
    of.splice(2, 0, ...relations());
    const stopAt = this.random.chance(0.5) ? of.length : this.random.between(0, of.length);
    return this.#append({ topic, under }, of, stopAt);
  }

  async #append({ topic, under }: Session, of: readonly Buffer[], stopAt: number): Promise<boolean> {
    const state = { failed: false };
    for (let at = 0; at < of.length && !state.failed;) {
      // The slot is lost at any moment; what is under way goes on.
      if (at > stopAt) return false;
      const batch = of.slice(at, at + this.random.between(1, 12));
      at += batch.length;
      const appended = topic.append(0, { count: batch.length, parts: [frames.records(batch)] }).then(
        () => this.#told(batch),
        () => (state.failed = true),
      );
      under.push(appended);
      if (this.random.chance(0.3)) await under[this.random.between(0, under.length - 1)];
      if (this.random.chance(0.2)) this.#haunt();
    }
    await Promise.all(under);
    return !state.failed && this.durable === this.source.at(-1)!.lsn;
  }

  /** Also by a reader that was replaced and does not know it. */
  #told(batch: readonly Buffer[]): void {
    for (const frame of batch) if (frame[0] === TAG.commit) this.durable = Math.max(this.durable, Number(decodeCommit(frame).commitLsn));
  }

  #haunt(): void {
    const zombie = this.#zombies[this.random.between(0, this.#zombies.length - 1)];
    const of = [frames.begin(9_999n), ...relations(), frames.insert(100, ['zombie', 'x']), frames.commit(9_999n, 10_000n)];
    zombie?.topic.append(0, { count: of.length, parts: [frames.records(of)] }).catch(() => undefined);
  }
}

/** The transactions that the log holds whole, and what their rows say. */
function whole(rows: readonly ScatteredRow[], skeleton: ReadonlyMap<number, Buffer>, end: number): { lsn: number; rows: string[] }[] {
  const found: { lsn: number; rows: string[] }[] = [];
  let open: string[] | undefined;
  for (let v = 0; v < end; v++) {
    const frame = skeleton.get(v);
    const events = rows.filter((row) => row.v === v && !flagNames(row.flags).includes('tombstone'));
    expect(frame === undefined ? events.length : 0, `frame ${v} is a row or something else`).toBe(
      frame === undefined ? events.length || 1 : 0,
    );
    if (frame === undefined) open?.push(...events.map(textOf));
    else if (frame[0] === TAG.begin) open = [];
    else if (frame[0] === FRAME.epoch) open = undefined;
    else if (frame[0] === TAG.commit) {
      if (open !== undefined) found.push({ lsn: Number(decodeCommit(frame).commitLsn), rows: open });
      open = undefined;
    }
  }
  return found;
}

function textOf({ oid, op, after, before, oldKey }: ScatteredRow): string {
  const row = after ?? before;
  return `${oid} ${op} ${row?.['id']}${oldKey === undefined ? '' : ` from ${oldKey['id']}`}`;
}

test('whatever Kafka does to readers that follow one another, the log is the source', async () => {
  const first = seedFromEnvironment();
  let sessions = 0;
  let voided = 0;
  for (let seed = first; seed < first + WORLDS; seed++) {
    try {
      const world = new ScatterWorld(seed);
      sessions += await world.run();
      const log = await readScattered(world.kafka, 'sim', avroFormat(world.registry, { name: 'sim' }));
      voided += log.voided;
      const expected = world.source.map(({ lsn, rows }) => ({ lsn, rows: [...rows] }));
      expect(whole(log.rows, log.skeleton, log.end)).toEqual(expected);
    } catch (error) {
      throw new Error(`seed ${seed} (CROSSFADE_SEED=${seed})`, { cause: error });
    }
  }
  // Without these nothing was tried.
  expect(sessions).toBeGreaterThan(2 * WORLDS);
  expect(voided).toBeGreaterThan(0);
});
