/** What is done to the target behind the pipeline's back, or to changes on their way, and what has to be said of it. */
import { execute } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { STRAY_DEEDS, strayOf, type StrayDeed } from './strays.ts';
import { ABSENT_EVERY, QUIET_EVERY, rowsOf, type TableKind } from './table-kinds.ts';

export type Deed = 'cell changed' | 'row deleted' | 'row added' | StrayDeed;

/** One line of `crossfade.finding` that has to come. */
export interface Expected {
  readonly from: string;
  readonly to: string;
  readonly key: Readonly<Record<string, string | null>> | null;
  readonly kind: 'missing' | 'extra' | 'different';
  readonly columns: readonly string[];
  /** Of a table without a key: how many. */
  readonly rows: number;
}

export interface Corruption {
  readonly table: TableKind;
  readonly deed: Deed;
  readonly n: number;
  readonly beganMs: number;
  /** When it was committed. */
  readonly atMs: number;
  readonly expected: readonly Expected[];
}

/** Numbers that are not used twice in one target. */
export class Numbers {
  readonly #used = new Set<string>();
  readonly #random: Random;
  readonly #rows: number;

  constructor(rows: number, random: Random) {
    this.#rows = rows;
    this.#random = random;
  }

  draw(kind: TableKind, isAbsent: boolean): number {
    const every = isAbsent ? ABSENT_EVERY : QUIET_EVERY;
    for (;;) {
      const n = this.#random.between(1, Math.floor(rowsOf(kind, this.#rows) / every)) * every;
      const id = `${kind.to} ${n}`;
      if (this.#used.has(id) || (n % ABSENT_EVERY === 0) !== isAbsent) continue;
      this.#used.add(id);
      return n;
    }
  }
}

export interface Corrupting {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly numbers: Numbers;
  readonly random: Random;
}

/** @throws Error when there was nothing to be spoilt. */
export async function corrupt(stage: Corrupting, table: TableKind, deed: Deed): Promise<Corruption> {
  const { numbers, random, targetUrl } = stage;
  const beganMs = Date.now();
  if (isStray(deed)) return { table, deed, beganMs, ...(await strayOf(stage, table, deed)) };
  const n = numbers.draw(table, deed === 'row added');
  const { to, named, find } = table;
  const returning = `RETURNING ${named.length === 0 ? '1 AS one' : named.join(', ')}`;
  const [column, value] = table.cells[random.between(0, table.cells.length - 1)]!;
  const sql = {
    'cell changed': `UPDATE ${to} SET ${column} = ${value} WHERE ctid = (SELECT ctid FROM ${to} WHERE ${find(n)} LIMIT 1) ${returning}`,
    'row deleted': `DELETE FROM ${to} WHERE ctid = (SELECT ctid FROM ${to} WHERE ${find(n)} LIMIT 1) ${returning}`,
    'row added': `${table.add?.(n)} ${returning}`,
  };
  const rows = await execute(targetUrl, sql[deed]);
  if (rows.length !== 1) throw new Error(`${table.name} ${n}: ${deed} met ${rows.length} rows`);
  const added = deed === 'row added' ? table.addedKey?.(n) : undefined;
  const key = named.length === 0 ? null : (added ?? rows[0]!);
  return { table, deed, n, beganMs, atMs: Date.now(), expected: expectedOf(table, deed, { key, column }) };
}

function isStray(deed: Deed): deed is StrayDeed {
  return STRAY_DEEDS.some((one) => one === deed);
}

function placeOf({ from, to }: TableKind): Pick<Expected, 'from' | 'to'> {
  return { from, to };
}

function expectedOf(table: TableKind, deed: Deed, { key, column }: { readonly key: Expected['key']; readonly column: string }): Expected[] {
  const one = { ...placeOf(table), key, columns: [], rows: 1 };
  switch (deed) {
    case 'cell changed': {
      if (key !== null) return [{ ...one, kind: 'different', columns: [column] }];
      return [
        { ...one, kind: 'missing' },
        { ...one, kind: 'extra' },
      ];
    }
    case 'row deleted':
      return (table.parts ?? [table.from]).map((from) => ({ ...one, from, kind: 'missing' }));
    default:
      return [{ ...one, kind: 'extra' }];
  }
}
