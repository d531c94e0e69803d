/**
 * A history of changes, applied to a real Redis in every wrong way that a stream can come: cut into rounds at random, interrupted between
 * rows and progress, begun again from the stored progress with other cuts, old rounds sent again beside new ones over another connection,
 * and by a sink that was replaced. Guarantee: one seed, one history and one order of events; what must be there at the end is kept apart.
 */
import { isDeepStrictEqual } from 'node:util';
import { Redis } from 'ioredis';
import type { Place, Round, RoundOutcome, Target, TargetSession, TargetStore } from '#connectors/target/target.ts';
import { redisStore } from '#connectors/target/redis/store.ts';
import { toLsn } from '#schemas/lsn.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import { bindRelation, type BoundRelation } from '#services/sink/bind-relation.ts';
import { TableFold } from '#services/sink/table-fold.ts';
import type { Random } from '#test/support/random.ts';
import { deleteFrame, insertFrame, truncateFrame, updateFrame, type Value } from '#test/support/sink-frames.ts';
import { mappingOf, table, type TableShape } from './mapping.ts';
import { keysOf, redisHashes, redisObjects } from './rows.ts';

const SHAPE: TableShape = { name: 'account', columns: ['id integer', 'owner text', 'country text', 'balance numeric'], key: ['id'] };
const OID = 1;
const CHANGES_PER_TRANSACTION = 4;
const COUNTRIES = ['DE', 'CI', 'US:x', null];

export type Row = [id: string, owner: string | null, country: string | null, balance: string];

export interface WorldOptions {
  readonly url: string;
  readonly form: 'hash' | 'json';
  readonly changes: number;
  readonly keys: number;
  readonly random: Random;
  /** Changes of one round, at most. */
  readonly roundChanges: number;
  /** No sets, as most tables have none. */
  readonly plain?: boolean;
  readonly cluster?: boolean;
  /** Absent: now and then the table is truncated. */
  readonly truncates?: false;
}

/** A frame, or undefined for a truncate. */
type Change = Buffer | undefined;

export class ReplayWorld {
  readonly rows = new Map<string, Row>();
  readonly mapping: CompiledMapping;
  readonly #options: WorldOptions;
  readonly #changes: Change[] = [];
  #emptied = 0;
  readonly #bound: BoundRelation;
  readonly #store: TargetStore;
  /** Changes written to Redis, repeated ones counted again. */
  written = 0;
  crashes = 0;
  stale = 0;
  zombies = 0;

  constructor(options: WorldOptions) {
    const { url, form, plain, cluster = false } = options;
    this.#options = options;
    this.mapping = mappingOf(
      `  - from: public.account\n    redis: { key: "acct:{id}", form: ${form}${plain === true ? '' : ', sets: ["by_country:{country}"]'} }\n`,
      [SHAPE],
      `target: { redis: { url: "${url}", cluster: ${cluster} } }`,
    );
    const columns = this.mapping.tables[0]!.columns.map(({ source }) => ({
      name: source.name,
      typeOid: source.typeOid,
      typmod: -1,
      isKey: true,
    }));
    const relation: Relation = { oid: OID, schema: 'public', name: 'account', replicaIdentity: 'f', columns };
    this.#bound = bindRelation(relation, this.mapping.tables[0]!);
    this.#store = redisStore({ address: { url, cluster }, mapping: this.mapping, instance: 'test' });
    for (let i = 0; i < options.changes; i++) this.#changes.push(this.#nextChange());
  }

  #row(id: string): Row {
    const { random } = this.#options;
    const owner = random.chance(0.1) ? null : random.chance(0.1) ? '' : `owner ${random.between(0, 1e9)} "é"`;
    return [id, owner, COUNTRIES[random.between(0, COUNTRIES.length - 1)]!, `${random.between(0, 1e6)}.50`];
  }

  #nextChange(): Change {
    const { random, keys, form, changes, truncates } = this.#options;
    if (truncates !== false && random.chance(Math.min(0.0005, 3 / changes))) {
      this.rows.clear();
      return undefined;
    }
    const id = String(random.between(1, keys));
    const old = this.rows.get(id);
    const row = this.#row(id);
    if (old === undefined) {
      this.rows.set(id, row);
      return insertFrame(OID, row);
    }
    const kind = random.next();
    if (kind < 0.2) {
      this.rows.delete(id);
      return deleteFrame(OID, old, 'O');
    }
    if (kind < 0.3) {
      const moved = String(random.between(1, keys));
      if (!this.rows.has(moved)) {
        this.rows.delete(id);
        this.rows.set(moved, [moved, row[1], row[2], row[3]]);
        return updateFrame(OID, [moved, row[1], row[2], row[3]], { kind: 'O', row: old });
      }
    }
    if (kind < 0.5 && form === 'hash') {
      // Without the old row: an unchanged long value is absent.
      this.rows.set(id, [id, old[1], row[2], row[3]]);
      return updateFrame(OID, [id, undefined, row[2], row[3]] satisfies Value[]);
    }
    this.rows.set(id, row);
    return updateFrame(OID, row, { kind: 'O', row: old });
  }

  /** The history as the log holds it. */
  log(): { readonly mapping: CompiledMapping; readonly table: CatalogTable; readonly transactions: Buffer[][] } {
    const changes = this.#changes.map((frame) => frame ?? truncateFrame([OID]));
    const transactions = Array.from({ length: Math.ceil(changes.length / CHANGES_PER_TRANSACTION) }, (_, i) =>
      changes.slice(i * CHANGES_PER_TRANSACTION, (i + 1) * CHANGES_PER_TRANSACTION),
    );
    return { mapping: this.mapping, table: table(SHAPE, OID), transactions };
  }

  /** Place of the change before `offset`. */
  #place(offset: number): Place {
    const transaction = Math.floor((offset - 1) / CHANGES_PER_TRANSACTION);
    return { lsn: toLsn(0x1000n + 16n * BigInt(transaction)), ordinal: 2 * (offset - transaction * CHANGES_PER_TRANSACTION) };
  }

  /** Changes [from, to) folded; without `commits` it is a part that no progress covers. */
  #round(from: number, to: number, commits: boolean): Round {
    const fold = new TableFold(this.#bound, true, { time: 0n });
    for (let i = from; i < to; i++) {
      const frame = this.#changes[i];
      if (frame === undefined) fold.clear(this.#place(i + 1));
      else fold.add(this.#bound, frame, 0);
    }
    this.written += to - from;
    const place = this.#place(to);
    return {
      work: [fold],
      places: [place],
      commit: commits ? { offset: to, lsn: toLsn(place.lsn + 16n), commitTimeMs: 0 } : undefined,
      markers: [],
      states: [],
      source: undefined,
      grain: 'transactions',
      counts: [],
    };
  }

  /** From the first change to the last, in one piece, `roundChanges` at a time. @returns seconds */
  async runStraight(): Promise<number> {
    const { target, session } = await this.#open();
    const { changes, roundChanges } = this.#options;
    const startMs = performance.now();
    for (let at = 0; at < changes; at += roundChanges) await session.apply(this.#round(at, Math.min(changes, at + roundChanges), true));
    const seconds = (performance.now() - startMs) / 1000;
    await target.close();
    return seconds;
  }

  /** Changes of long ago are written again as one piece, by a sink that is in its right. */
  async repeat(from: number, to: number): Promise<void> {
    const { target, session } = await this.#open();
    await session.apply(this.#round(from, to, false));
    await target.close();
  }

  async #open(): Promise<Opened> {
    const target = await this.#store.open({ onMissing: async () => Promise.reject(new Error('a row was missing')) });
    const { epoch, appliedLsn, logOffset } = target.progress;
    return { target, session: target.consistent({ epoch, appliedLsn, logOffset }), at: logOffset ?? 0, emptied: this.#emptied };
  }

  /** Offset behind the last truncate of [0, to). */
  #truncateBefore(to: number): number {
    return this.#changes.slice(0, to).lastIndexOf(undefined) + 1;
  }

  async run(): Promise<void> {
    const { random, changes } = this.#options;
    let now = await this.#open();
    const before: Opened[] = [];
    while (now.at < changes) {
      const kind = random.next();
      const to = Math.min(changes, now.at + this.#size());
      if (kind < 0.1) {
        // The rows were written, their progress was not.
        await now.session.apply(this.#round(now.at, to, false));
        now.emptied = this.#emptied = Math.max(this.#emptied, this.#truncateBefore(to));
        this.crashes++;
      }
      if (kind < 0.15) {
        before.push(now);
        if (before.length > 3) await before.shift()!.target.close();
        now = await this.#open();
      } else {
        const acts = [now.session.apply(this.#round(now.at, to, true))];
        if (kind < 0.3 && now.at > 0) acts.push(this.#repeatOld(now));
        if (kind > 0.9 && before.length > 0) await this.#wakeZombie(before[random.between(0, before.length - 1)]!, to);
        await Promise.all(acts);
        now.at = to;
      }
    }
    for (const { target } of [...before, now]) await target.close();
  }

  #size(): number {
    const { random, roundChanges } = this.#options;
    return 1 + Math.floor(random.next() ** 3 * roundChanges);
  }

  /** Something of before comes again while the next is written, over a connection of its own. */
  async #repeatOld({ target, at }: Opened): Promise<RoundOutcome> {
    const { random, roundChanges } = this.#options;
    const lane = await target.lane(this.mapping.tables);
    const to = Math.max(1, at - random.between(0, roundChanges));
    const outcome = await lane.apply(this.#round(Math.max(0, to - this.#size()), to, false));
    await lane.close();
    this.stale++;
    return outcome;
  }

  /**
   * A sink that was replaced writes what it had: nothing of it may count. Of what lies below a truncate that it knows of it writes nothing,
   * and would not find out.
   */
  async #wakeZombie(zombie: Opened, to: number): Promise<void> {
    const end = Math.max(zombie.at + 1, to, zombie.emptied);
    zombie.emptied = Math.max(zombie.emptied, this.#truncateBefore(end));
    const refused = await zombie.session.apply(this.#round(zombie.at, end, false)).then(
      () => undefined,
      (error: unknown) => (error as { code?: string }).code,
    );
    if (refused !== 'CF-5005') throw new Error(`a sink that was replaced could write (${String(refused)})`);
    this.zombies++;
  }
}

interface Opened {
  readonly target: Target;
  readonly session: TargetSession;
  at: number;
  /** Offset behind the last truncate that it knows of, be it one that its predecessor wrote without progress. */
  emptied: number;
}

/** What differs between the model and Redis (one server, or all masters), a line each. */
export async function compareWorld(
  { rows, mapping }: ReplayWorld,
  servers: Redis | readonly Redis[],
  form: 'hash' | 'json',
): Promise<string[]> {
  const found: Record<string, unknown> = {};
  const foundSets: Record<string, string[]> = {};
  for (const client of servers instanceof Redis ? [servers] : servers) {
    Object.assign(found, form === 'hash' ? await redisHashes(client, 'acct:') : await redisObjects(client, 'acct:'));
    for (const name of await keysOf(client, 'by_country:')) foundSets[name] = (await client.smembers(name)).toSorted();
  }
  const wanted: Record<string, unknown> = {};
  const sets: Record<string, string[]> = {};
  for (const row of rows.values()) {
    const key = `acct:${row[0]}`;
    wanted[key] = form === 'hash' ? hashOf(row) : { id: Number(row[0]), owner: row[1], country: row[2], balance: Number(row[3]) };
    if (row[2] === null || mapping.tables[0]!.redis!.sets.length === 0) continue;
    (sets[`by_country:${row[2].replace(':', '%3A')}`] ??= []).push(key);
  }
  const sorted = Object.fromEntries(Object.entries(sets).map(([name, members]) => [name, members.toSorted()]));
  return [...differencesOf(wanted, found), ...differencesOf(sorted, foundSets)];
}

function differencesOf(wanted: Readonly<Record<string, unknown>>, found: Readonly<Record<string, unknown>>): string[] {
  const keys = [...new Set([...Object.keys(wanted), ...Object.keys(found)])];
  const differing = keys.filter((key) => !isDeepStrictEqual(found[key], wanted[key]));
  return differing.map((key) => `${key}: ${JSON.stringify(found[key])} instead of ${JSON.stringify(wanted[key])}`);
}

function hashOf([id, owner, country, balance]: Row): Record<string, string> {
  return { id, ...(owner !== null && { owner }), ...(country !== null && { country }), balance };
}
