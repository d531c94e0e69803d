/**
 * Rows of one table held against Redis, source row by source row. Guarantee: every row of the snapshot (or of the keys asked for) is read once
 * from Redis, every key of the table's template that stands there throughout is met, and memory holds a batch, one sum for each bucket of keys
 * and what seems to differ. Whether it does differ is the alignment's to say: a key may have changed (align-store.ts).
 *
 * Values need no digests: Redis computes none, so both rows are here anyway. Keys do, for the rows that only Redis has: the keys of both sides are
 * summed by bucket, and only those of buckets that differ are looked up at the source.
 */
import type { RedisMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { parseLsn, toLsn, type Lsn } from '#schemas/lsn.ts';
import type { DifferenceKind } from '#schemas/reconcile/verify-result.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { sourceRows, sourceRowsAt, type SourceScan } from '#connectors/probe/postgres/source-rows.ts';
import type { TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import { keyReader, keysLike, nameOf } from '#connectors/probe/redis/row-keys.ts';
import { isMember, readStored, type StoredRow } from '#connectors/probe/redis/stored-rows.ts';
import type { StoreAlignment } from './align-store.ts';
import { KeySums } from './key-sums.ts';
import { storedMembers } from './set-members.ts';

const BATCH_ROWS = 1_000;
const ROWS_PER_PAGE = 60;

/** What seems to differ. */
export interface Suspect {
  readonly kind: DifferenceKind;
  /** Texts of the target's key. */
  readonly key: Texts;
  /** Undefined: no row of the source could have the key. */
  readonly sourceKey: readonly string[] | undefined;
  readonly columns: readonly string[];
  /** Something else stands under the key. */
  readonly isForeign?: boolean;
}

export interface Look {
  readonly rowsSource: number;
  readonly rowsTarget: number;
  /** By the source's key, as JSON of its texts; of a key that no row could have, by the key in Redis. */
  readonly suspects: ReadonlyMap<string, Suspect>;
  readonly expired: number;
  /** There were more suspects than are kept. */
  readonly isCut: boolean;
}

export interface LookOptions {
  readonly suspectsMax: number;
  readonly signal: AbortSignal;
}

type Aligned = Pick<StoreAlignment, 'store' | 'present' | 'generation' | 'lsn'>;

export class TableLook {
  readonly #scan: SourceScan;
  readonly #aligned: Aligned;
  readonly #options: LookOptions;
  readonly #probe: TableProbe;
  readonly #redis: RedisMapping;
  readonly #suspects = new Map<string, Suspect>();
  readonly #keyPlaces: readonly number[];
  #flushed: Lsn;
  #isCut = false;
  /** Of all rows and their sets, where all are looked at. */
  #members: KeySums | undefined;
  #expired = 0;

  constructor(scan: SourceScan, aligned: Aligned, options: LookOptions) {
    this.#scan = scan;
    this.#aligned = aligned;
    this.#options = options;
    this.#probe = scan.probe;
    this.#redis = scan.probe.mapping.redis!;
    this.#keyPlaces = scan.probe.mapping.sourceKey.map((name) => scan.probe.sourceColumns.indexOf(name));
    this.#flushed = aligned.lsn;
  }

  /** All of the table, on both sides. */
  async everything(): Promise<Look> {
    const { shape } = this.#scan;
    const rows = Math.max(shape.rowEstimate, shape.pages * ROWS_PER_PAGE);
    const keys = new KeySums(rows);
    const members = new KeySums(rows * this.#redis.sets.length);
    this.#members = members;
    for await (const batch of sourceRows(this.#scan, BATCH_ROWS)) {
      this.#options.signal.throwIfAborted();
      for (const name of await this.#hold(batch)) keys.source.add(name);
    }
    for await (const names of this.#stored()) for (const [name] of names) keys.target.add(name);
    const doubtful = keys.differing();
    if (doubtful !== undefined) await this.#findExtra(doubtful);
    await this.#findMembers(members);
    return this.#result(keys.source.rows, keys.target.rows);
  }

  /** Only these, whole keys of the source. */
  async keys(keys: readonly Texts[]): Promise<Look> {
    for (let from = 0; from < keys.length; from += BATCH_ROWS) {
      this.#options.signal.throwIfAborted();
      const asked = keys.slice(from, from + BATCH_ROWS);
      const standing = await sourceRowsAt(this.#scan, asked);
      await this.#hold(standing.flatMap((one) => (one.kind === 'row' ? [one.texts] : [])));
      const gone = asked.filter((_, i) => standing[i]!.kind !== 'row');
      const names = gone.map((key) => this.#nameOfKey(key));
      const stored = await readStored(this.#aligned.store, this.#probe.mapping, names);
      gone.forEach((key, i) => {
        if (stored[i] !== undefined) this.#suspect({ kind: 'extra', key, sourceKey: key as readonly string[], columns: [] });
      });
    }
    return this.#result(0, 0);
  }

  #result(rowsSource: number, rowsTarget: number): Look {
    return { rowsSource, rowsTarget, suspects: this.#suspects, expired: this.#expired, isCut: this.#isCut };
  }

  /** Source rows against what stands under their keys. @returns these keys */
  async #hold(rows: readonly Texts[]): Promise<readonly string[]> {
    const { mapping, image } = this.#probe;
    const images = rows.map((row) => image(row) as Texts);
    const names = images.map((texts) => nameOf(this.#redis.key, valueIn(mapping, texts))!);
    const stored = await readStored(this.#aligned.store, mapping, names);
    const sets = await this.#setsWithout(images, names);
    if (this.#members !== undefined)
      images.forEach((texts, i) => {
        for (const name of new Set(this.#setsOf(texts).map((set) => set.name))) this.#members!.source.add(memberName(name, names[i]!));
      });
    for (const [i, texts] of images.entries()) {
      const row = stored[i];
      const key = this.#probe.key.map((at) => texts[at]!);
      const sourceKey = this.#keyPlaces.map((at) => rows[i]![at]!);
      if (row === undefined) {
        // Whether it has expired, nobody can tell any more.
        if (this.#redis.ttlSeconds !== undefined) this.#expired++;
        else this.#suspect({ kind: 'missing', key, sourceKey, columns: [] });
        continue;
      }
      const columns = mapping.columns.flatMap(({ target }, at) => (row.equals(at, texts[at]!) ? [] : [target]));
      columns.push(...sets[i]!);
      if (!(await this.#isGuarded(row, this.#setsOf(texts)))) columns.push(GUARD);
      if (columns.length > 0) this.#suspect({ kind: 'different', key, sourceKey, columns, isForeign: row.isForeign });
    }
    return names;
  }

  #setsOf(texts: Texts): readonly { readonly template: string; readonly name: string }[] {
    return this.#redis.sets.flatMap((template) => {
      const name = nameOf(template, valueIn(this.#probe.mapping, texts));
      return name === undefined ? [] : [{ template: template.text, name }];
    });
  }

  /** By row: templates of sets that it should be in, and is not. */
  async #setsWithout(images: readonly Texts[], names: readonly string[]): Promise<readonly (readonly string[])[]> {
    if (this.#redis.sets.length === 0) return names.map(() => []);
    const { store } = this.#aligned;
    return Promise.all(
      images.map(async (texts, i) => {
        const sets = this.#setsOf(texts);
        const isIn = await Promise.all(sets.map(async ({ name }) => isMember(store, name, names[i]!)));
        return sets.flatMap(({ template }, at) => (isIn[at]! ? [] : [template]));
      }),
    );
  }

  /** Whether the row's own place can be one: of this migration's life there, not of the future, with the sets that hold the row. */
  async #isGuarded({ guard }: StoredRow, sets: readonly { readonly name: string }[]): Promise<boolean> {
    const parts = /^(.{8})([0-9a-f]{16})[0-9a-f]{8}((?: [^ ]+)*)$/s.exec(guard ?? '');
    if (parts === null || parts[1] !== this.#aligned.generation) return false;
    const place = toLsn(BigInt(`0x${parts[2]}`));
    if (place > this.#flushed) {
      const row = await queryRow(this.#aligned.present, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
      this.#flushed = parseLsn(row!['lsn']!);
    }
    const told = parts[3] === '' ? [] : parts[3]!.slice(1).split(' ');
    return place <= this.#flushed && told.toSorted().join(' ') === [...new Set(sets.map(({ name }) => name))].toSorted().join(' ');
  }

  /** Keys that stand in Redis and could be rows of this table, with the values of their key columns. */
  async *#stored(): AsyncGenerator<readonly (readonly [name: string, key: Texts])[]> {
    const read = keyReader(this.#redis.key, this.#probe.mapping.targetKey);
    for await (const found of keysLike(this.#aligned.store, this.#redis.key)) {
      this.#options.signal.throwIfAborted();
      yield found.flatMap((name) => {
        const key = read(name);
        return key === undefined ? [] : [[name, key] as const];
      });
    }
  }

  async #findExtra(isDirty: (name: string) => boolean): Promise<void> {
    for await (const names of this.#stored()) {
      const doubtful = names.filter(([name]) => isDirty(name));
      const standing = await sourceRowsAt(
        this.#scan,
        doubtful.map(([, key]) => key),
      );
      doubtful.forEach(([name, key], i) => {
        const { kind } = standing[i]!;
        if (kind === 'none') this.#suspect({ kind: 'extra', key, sourceKey: key as readonly string[], columns: [] });
        else if (kind === 'never') this.#suspect({ kind: 'extra', key, sourceKey: undefined, columns: [] }, name);
      });
    }
  }

  /** Members of sets that are none by the source's rows. */
  async #findMembers(members: KeySums): Promise<void> {
    const { mapping } = this.#probe;
    for await (const found of storedMembers(this.#aligned.store, mapping))
      for (const { set, member } of found) members.target.add(memberName(set, member));
    const isDoubtful = members.differing();
    if (isDoubtful === undefined) return;
    for await (const found of storedMembers(this.#aligned.store, mapping)) {
      this.#options.signal.throwIfAborted();
      const doubtful = found.filter(({ set, member }) => isDoubtful(memberName(set, member)));
      const keys = doubtful.map(({ key }) => key);
      const standing = await sourceRowsAt(this.#scan, keys);
      for (const [i, { set, template, key, member }] of doubtful.entries()) {
        const row = standing[i]!;
        const sets = row.kind === 'row' ? this.#setsOf(this.#probe.image(row.texts) as Texts) : [];
        if (sets.some(({ name }) => name === set)) continue;
        const kind = row.kind === 'row' ? 'different' : 'extra';
        const sourceKey = row.kind === 'never' ? undefined : (key as readonly string[]);
        this.#suspect({ kind, key, sourceKey, columns: [template] }, sourceKey === undefined ? member : undefined);
      }
    }
  }

  #nameOfKey(key: Texts): string {
    const { targetKey } = this.#probe.mapping;
    return nameOf(this.#redis.key, (column) => key[targetKey.indexOf(column)] ?? '')!;
  }

  #suspect(suspect: Suspect, id = JSON.stringify(suspect.sourceKey)): void {
    if (this.#suspects.size >= this.#options.suspectsMax && !this.#suspects.has(id)) this.#isCut = true;
    else this.#suspects.set(id, joined(this.#suspects.get(id), suspect));
  }
}

/** As a column that differs: the row's own place. */
const GUARD = '_cf';

function valueIn({ columns }: TableMapping, texts: Texts): (column: string) => string | null {
  return (name) => texts[columns.findIndex(({ target }) => target === name)] ?? null;
}

/** Neither of them has a space in it. */
function memberName(set: string, key: string): string {
  return `${set} ${key}`;
}

/** A row of which more is found later. */
function joined(before: Suspect | undefined, suspect: Suspect): Suspect {
  if (before === undefined || before.kind === 'missing') return before ?? suspect;
  return { ...before, columns: [...new Set([...before.columns, ...suspect.columns])] };
}
