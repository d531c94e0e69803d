/**
 * A source in memory that changes at random, for sinks that are to end in its state. Guarantee: keys and unique values are as PostgreSQL
 * would keep them, and the frames are what its stream would say; one seed gives one history.
 */
import pg from 'pg';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { Value } from '#test/support/sink-frames.ts';
import type { SinkHarness, TableFrames } from '#test/support/sink-harness.ts';

export const SOURCE_DDL: string = `
  CREATE TABLE person (id int PRIMARY KEY, email text UNIQUE, big text, n numeric);
  CREATE TABLE pair (a int, b text, v text, PRIMARY KEY (a, b));
  CREATE TABLE loose (x int, y text);
  ALTER TABLE loose REPLICA IDENTITY FULL`;
export type Row = (string | null)[];

export class RandomSource {
  readonly person = new Map<string, Row>();
  readonly pair = new Map<string, Row>();
  readonly loose: Row[] = [];
  /** Hears of each row with a key that goes, as it was. */
  onGone: (table: 'person' | 'pair', row: Row) => void = () => undefined;
  readonly #random: (below: number) => number;
  readonly #frames: { readonly person: TableFrames; readonly pair: TableFrames; readonly loose: TableFrames };

  constructor(harness: SinkHarness, random: (below: number) => number) {
    this.#random = random;
    this.#frames = { person: harness.table('person'), pair: harness.table('pair'), loose: harness.table('loose') };
  }

  transaction(): Buffer[] {
    const size = this.#random(8) === 0 ? 60 + this.#random(200) : 1 + this.#random(6);
    const frames: Buffer[] = [];
    for (let i = 0; i < size; i++) {
      const kind = this.#random(10);
      const frame = kind < 6 ? this.#changePerson() : kind < 8 ? this.#changePair() : this.#changeLoose();
      if (frame !== undefined) frames.push(frame);
    }
    return frames;
  }

  #text(): string | null {
    return this.#random(6) === 0 ? null : `t${this.#random(1000)}\\\t`;
  }

  #email(except?: string): string | null {
    const taken = new Set([...this.person.entries()].filter(([id]) => id !== except).map(([, row]) => row[1]));
    const email = `e${this.#random(40)}`;
    return taken.has(email) ? null : email;
  }

  #changePerson(): Buffer | undefined {
    const { person } = this.#frames;
    const id = String(this.#random(60));
    const old = this.person.get(id);
    const kind = this.#random(200);
    if (kind === 0) {
      for (const row of this.person.values()) this.onGone('person', row);
      this.person.clear();
      return person.truncate();
    }
    if (old === undefined) {
      const row: Row = [id, this.#email(), this.#text(), `${this.#random(9)}.50`];
      this.person.set(id, row);
      return person.insert(...row);
    }
    if (kind < 40) {
      this.onGone('person', old);
      this.person.delete(id);
      return person.delete(id, null, null, null);
    }
    const next: Row = [id, this.#email(id), this.#text(), old[3]!];
    const sent: Value[] = [...next];
    if (kind < 120) {
      next[2] = old[2]!;
      sent[2] = undefined;
    }
    const moved = String(this.#random(60));
    if (kind % 4 !== 0 || this.person.has(moved)) {
      this.person.set(id, next);
      return person.update(...sent);
    }
    this.onGone('person', old);
    this.person.delete(id);
    next[0] = sent[0] = moved;
    this.person.set(moved, next);
    return person.updateFrom([id, null, null, null], sent);
  }

  #changePair(): Buffer {
    const { pair } = this.#frames;
    const row: Row = [String(this.#random(4)), `k${this.#random(5)}`, this.#text()];
    const key = `${row[0]}|${row[1]}`;
    if (!this.pair.has(key)) {
      this.pair.set(key, row);
      return pair.insert(...row);
    }
    if (this.#random(3) === 0) {
      this.onGone('pair', this.pair.get(key)!);
      this.pair.delete(key);
      return pair.delete(row[0], row[1], null);
    }
    this.pair.set(key, row);
    return pair.update(...row);
  }

  #changeLoose(): Buffer {
    const { loose } = this.#frames;
    const row: Row = [String(this.#random(4)), this.#random(3) === 0 ? null : `y${this.#random(2)}`];
    const at = this.#random(this.loose.length + 1);
    const old = this.loose[at];
    if (old === undefined || this.#random(2) === 0) {
      this.loose.push(row);
      return loose.insert(...row);
    }
    this.loose.splice(at, 1);
    if (this.#random(2) === 0) return loose.deleteFull(...old);
    this.loose.push(row);
    return loose.updateFrom(old, row, 'O');
  }
}

/** Now and then all sessions of the sink are ended, at whatever point it is. */
export function interrupt(
  url: string,
  random: (below: number) => number,
): { readonly strikes: () => number; readonly done: () => Promise<unknown> } {
  const killing: Promise<unknown>[] = [];
  installTestHooks({
    onFailpoint: () => {
      if (random(25) !== 0) return;
      const client = new pg.Client({ connectionString: url });
      const sql = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade sinktest sink'`;
      killing.push(runOnce(client, sql));
    },
  });
  return { strikes: () => killing.length, done: () => Promise.allSettled(killing) };
}

export const byText = (a: Row, b: Row): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);

async function runOnce(client: pg.Client, sql: string): Promise<void> {
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
