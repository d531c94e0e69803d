/**
 * What the log, mapped, makes of one table, kept as digests. Guarantee: `stateBut(…)` is the state in which the transactions named have not
 * happened, or it throws NotAligned; a table that cannot be kept says why and is never equal.
 */
import type { ChunkDeletes, ChunkRowsHeader } from '#schemas/frame/frame.ts';
import { type Lsn, maxLsn, toLsn, ZERO_LSN } from '#schemas/lsn.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { BucketState } from '#schemas/reconcile/buckets.ts';
import type { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';
import { laneValue } from '#schemas/reconcile/lookup3.ts';
import type { Inconclusive, InconclusiveCause } from '#schemas/reconcile/verify-result.ts';
import { type AggregateOptions, idOf, type RowState, TableAggregate } from '#schemas/reconcile/table-aggregate.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { WideTexts } from '#schemas/reconcile/tuple-digester.ts';
import { decodeCopyRows } from '#schemas/value/copy-text.ts';
import { widen } from '#connectors/probe/postgres/settle.ts';
import type { TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import { rowSelected } from '../row-selected.ts';
import { isVisible, type Visibility } from '../visibility.ts';
import type { ChangeRing } from './change-ring.ts';
import { LateKeys } from './late-keys.ts';
import { NotAligned } from './mirror-verdict.ts';
import { RelationRows, type RowsOptions } from './relation-rows.ts';
import { type Fields, TextDigester } from './text-digester.ts';
import type { ScannedTransaction } from './transaction-scan.ts';

export interface Beginning {
  readonly visibility: Visibility;
  /** Every commit that the snapshot sees lies below it. */
  readonly lsn: Lsn;
}

/** Rows of the source, as texts in the order of the probe's source columns. */
export interface TableFill {
  /** @returns whether the limits hold them; else the table is refused. */
  readonly put: (source: Fields) => boolean;
  /** Every row was put. */
  readonly done: (beginning: Beginning) => void;
}

export type Among = (transaction: ScannedTransaction) => boolean;

/** A state of the table, valid until the next record of the log is taken. */
export interface MirrorState {
  bucket(bucket: number): BucketState;
  /** Sums of the columns that are summed. */
  declaredOf(bucket: number): readonly DecimalSum[];
  at(key: Int32Array): RowState;
  /** Transactions that have not happened in it changed the key's row. */
  isChanged(key: Int32Array): boolean;
  /** Every row of these buckets, open ones left out. */
  rowsIn(buckets: ReadonlySet<number>): Map<string, { readonly key: Int32Array; readonly lanes: Int32Array }>;
}

export class TableMirror {
  readonly probe: TableProbe;
  readonly oids = new Set<number>();
  readonly late: LateKeys = new LateKeys();
  readonly texts: TextDigester;
  readonly #options: RowsOptions;
  #isSummed = true;
  readonly #ring: ChangeRing<TableMirror>;
  readonly #relations = new Map<number, RelationRows>();
  #aggregate: TableAggregate | undefined;
  #reason: Inconclusive = { cause: 'copying', message: 'what the log makes of the table is not known yet' };
  #isRefused = false;
  #beginning: Beginning | undefined;
  /** Of the target's states these and later ones can be compared, of the source's snapshots those whose xmin is above. */
  #lsnMin: Lsn = ZERO_LSN;
  #xidMax = 0n;

  constructor(options: RowsOptions, ring: ChangeRing<TableMirror>) {
    this.probe = options.probe;
    this.#options = options;
    this.#ring = ring;
    this.texts = new TextDigester(options.digester, options.forms, options.summed);
  }

  /** Columns of which sums are kept: those that the file declares, unless there were too many rows for that. */
  get summed(): readonly number[] {
    return this.#isSummed ? this.#options.summed : [];
  }

  /** Undefined: it is kept. */
  get reason(): Inconclusive | undefined {
    return this.#aggregate === undefined ? this.#reason : undefined;
  }

  /** Of a key's hash these bits are the bucket. @throws NotAligned */
  get mask(): bigint {
    return BigInt(this.#known().buckets - 1);
  }

  /** Rows whose digests are kept. */
  get size(): number {
    return this.#aggregate?.size ?? 0;
  }

  /** It is to be filled as soon as that can be done. */
  get isWanted(): boolean {
    return this.#aggregate === undefined && !this.#isRefused;
  }

  /** Never again until the process ends. */
  refuse(cause: InconclusiveCause, message: string): void {
    this.void(cause, message);
    this.#isRefused = true;
  }

  /** Nothing is known of the table any more; it is filled anew. */
  void(cause: InconclusiveCause, message: string): void {
    if (this.#isRefused) return;
    this.#aggregate = undefined;
    this.#beginning = undefined;
    this.#relations.clear();
    this.#reason = { cause, message };
    this.late.clear();
    this.#ring.forget(this);
  }

  beginFill(options: AggregateOptions): TableFill {
    const aggregate = new TableAggregate(options);
    const { sourceColumns, image, mapping } = this.probe;
    const keyFields = mapping.sourceKey.map((name) => sourceColumns.indexOf(name));
    return {
      put: (source) => {
        const texts = keyFields.map((i) => source[i] ?? null);
        aggregate.set(this.texts.key(texts), this.texts.row(image(source), texts));
        if (aggregate.void !== undefined) this.#overflow(aggregate.void);
        return aggregate.void === undefined;
      },
      done: (beginning) => {
        this.#aggregate = aggregate;
        this.#beginning = beginning;
        this.#lsnMin = beginning.lsn;
        this.#xidMax = 0n;
        this.late.clear();
      },
    };
  }

  learn(relation: Relation): void {
    const rows = RelationRows.of(this.#options, relation);
    if (typeof rows === 'string') this.refuse('changed', rows);
    else this.#relations.set(relation.oid, rows);
  }

  /** A transaction that the first snapshot saw is in the state already. */
  counts({ xid }: ScannedTransaction): boolean {
    return this.#beginning !== undefined && !isVisible(this.#beginning.visibility, xid);
  }

  change(oid: number, message: Buffer): void {
    const rows = this.#relations.get(oid);
    if (rows === undefined) return this.void('changed', 'a change of the table stands in the log without its description');
    rows.feed(message, {
      carried: (key) => this.#carried(key),
      set: (key, state, texts) => this.#set(key, state, { texts, copied: false }),
    });
  }

  /** Nothing of before can be put back. */
  truncate(transaction: ScannedTransaction): void {
    this.#aggregate?.truncate();
    this.#ring.forget(this);
    this.#ring.loseOpen(this);
    this.late.clear();
    this.cannotGoBackOver(transaction);
  }

  /** Copied rows stand in the order of positions only: those from before the first snapshot say nothing new. */
  copied(header: ChunkRowsHeader, rows: Buffer, { commitLsn }: ScannedTransaction): void {
    if (this.#beginning === undefined || commitLsn < this.#beginning.lsn) return;
    const { sourceColumns, mapping, image } = this.probe;
    const fields = sourceColumns.map((name) => header.columns.indexOf(name));
    const at = (name: string): number => sourceColumns.indexOf(name);
    for (const line of decodeCopyRows(rows, header.columns.length)) {
      const source: Fields = fields.map((field) => line[field]);
      // A filter's column that is not mapped does not come along: the chunk was read through the filter.
      const isSelected = rowSelected(mapping.filter, (column) => source[at(column)]) ?? true;
      const texts = mapping.sourceKey.map((name) => source[at(name)] ?? null);
      this.#set(this.texts.key(texts), isSelected ? this.texts.row(image(source), texts) : undefined, {
        texts,
        copied: true,
      });
    }
  }

  removed({ keyColumns, keys }: ChunkDeletes, { commitLsn }: ScannedTransaction): void {
    if (this.#beginning === undefined || commitLsn < this.#beginning.lsn) return;
    const order = this.probe.mapping.sourceKey.map((name) => keyColumns.indexOf(name));
    for (const one of keys) {
      const texts = order.map((i) => one[i]!);
      this.#set(this.texts.key(texts), undefined, { texts, copied: true });
    }
  }

  /** Puts back what a key had before a transaction that does not count. */
  undo(key: Int32Array, before: RowState): void {
    this.#aggregate?.set(key, before);
  }

  /** The changes of this transaction are not kept: no state without it can be made. */
  cannotGoBackOver({ xid, commitLsn }: ScannedTransaction): void {
    this.#lsnMin = maxLsn(this.#lsnMin, toLsn(commitLsn + 1n));
    const known = this.#beginning?.visibility.xmax ?? 0n;
    const wide = widen(BigInt(xid), this.#xidMax > known ? this.#xidMax : known);
    if (wide > this.#xidMax) this.#xidMax = wide;
  }

  /** The state that a target shows whose applied LSN this is. @throws NotAligned */
  stateAt(applied: Lsn): MirrorState {
    const aggregate = this.#known();
    if (applied < this.#lsnMin)
      throw new NotAligned('lag', 'the target is further behind the log than its last changes are kept, or than its first state lies');
    return this.#stateBut(aggregate, ({ commitLsn }) => commitLsn >= applied);
  }

  /** The state that a snapshot of the source shows, all of whose transactions were read. @throws NotAligned */
  stateSeenBy(snapshot: Visibility): MirrorState {
    const aggregate = this.#known();
    if (snapshot.xmin <= this.#xidMax)
      throw new NotAligned('in-flight', 'a transaction runs that is older than changes which are not kept any more');
    const unseen: Among = ({ xid }) => !isVisible(snapshot, xid);
    for (const { copied } of this.#ring.backwards(this, unseen))
      if (copied) throw new NotAligned('in-flight', 'rows were copied again in a transaction that the snapshot does not see');
    return this.#stateBut(aggregate, unseen);
  }

  /** What a key has as of the last record read; open ones say so. @throws NotAligned */
  now(key: Int32Array): RowState {
    return this.#known().at(key);
  }

  bucketOf(key: Int32Array): number {
    return this.#known().bucketOf(key);
  }

  /** A row that is open in a state and still is now, and of which somebody knows what it is in that state. */
  settle(key: Int32Array, row: RowState, state: MirrorState): void {
    const now = this.#aggregate?.at(key);
    if (now !== undefined && 'open' in now && !state.isChanged(key)) this.#aggregate?.set(key, row);
  }

  #known(): TableAggregate {
    if (this.#aggregate === undefined) throw new NotAligned(this.#reason.cause, this.#reason.message);
    return this.#aggregate;
  }

  #carried(key: Int32Array): WideTexts | undefined {
    return this.#aggregate?.carried(key);
  }

  #set(key: Int32Array, state: RowState, about: { readonly texts: Texts; readonly copied: boolean }): void {
    const aggregate = this.#aggregate;
    if (aggregate === undefined) return;
    const before = aggregate.at(key);
    if (isSame(before, state)) return;
    this.#ring.add({ table: this, id: idOf(key), key, before, copied: about.copied });
    aggregate.set(key, state);
    this.late.add(about.texts, key);
    if (aggregate.void !== undefined) this.#overflow(aggregate.void);
  }

  /** Sums need a note for each row, digests do not: the table begins anew without them before it is given up. */
  #overflow(what: string): void {
    const isSummed = this.summed.length > 0;
    this.#isSummed = false;
    if (isSummed) this.void('volume', `the table has ${what}: it is kept anew, without sums`);
    else this.refuse('volume', `the table has ${what}: too many to keep their digests`);
  }

  #stateBut(aggregate: TableAggregate, among: Among): MirrorState {
    const put = new Map<string, { readonly key: Int32Array; readonly state: RowState }>();
    // From the last to the first: what the first one found is what stays.
    if (guarded('mirror-align')) for (const { id, key, before } of this.#ring.backwards(this, among)) put.set(id, { key, state: before });
    const deltas = new Map<number, BucketState>();
    const moved = new Map<number, readonly DecimalSum[]>();
    for (const { key, state } of put.values()) {
      const bucket = aggregate.bucketOf(key);
      const now = aggregate.at(key);
      const sum = deltas.get(bucket) ?? aggregate.bucket(bucket);
      deltas.set(bucket, plus(plus(sum, now, -1n), state, 1n));
      const declared = moved.get(bucket) ?? aggregate.declaredOf(bucket);
      moved.set(bucket, declared);
      addDeclared(declared, now, -1);
      addDeclared(declared, state, 1);
    }
    return {
      bucket: (bucket) => deltas.get(bucket) ?? aggregate.bucket(bucket),
      declaredOf: (bucket) => moved.get(bucket) ?? aggregate.declaredOf(bucket),
      at: (key) => {
        const other = put.get(idOf(key));
        return other === undefined ? aggregate.at(key) : other.state;
      },
      isChanged: (key) => put.has(idOf(key)),
      rowsIn: (buckets) => {
        const rows = new Map<string, { readonly key: Int32Array; readonly lanes: Int32Array }>();
        aggregate.rowsIn(buckets, (key, lanes) => void rows.set(idOf(key), { key, lanes }));
        for (const [id, { key, state }] of put) {
          rows.delete(id);
          if (state !== undefined && 'lanes' in state && buckets.has(aggregate.bucketOf(key))) rows.set(id, { key, lanes: state.lanes });
        }
        return rows;
      },
    };
  }
}

function isSame(one: RowState, other: RowState): boolean {
  if (one === undefined || other === undefined) return one === other;
  if ('open' in one || 'open' in other) return false;
  return one.lanes.every((word, i) => word === other.lanes[i]);
}

function plus(sum: BucketState, state: RowState, sign: 1n | -1n): BucketState {
  if (state === undefined || 'open' in state) return sum;
  const [a, b] = lanesOf(state.lanes);
  return {
    rows: sum.rows + Number(sign),
    a: BigInt.asUintN(64, sum.a + sign * a),
    b: BigInt.asUintN(64, sum.b + sign * b),
    sums: sum.sums,
  };
}

function addDeclared(sums: readonly DecimalSum[], state: RowState, sign: 1 | -1): void {
  if (state === undefined || 'open' in state) return;
  for (const [i, sum] of sums.entries()) sum.add(state.declared[i] ?? null, sign);
}

/** The two lanes as PostgreSQL's bigints. */
export function lanesOf(lanes: Int32Array): readonly [bigint, bigint] {
  return [laneValue(lanes, 0), laneValue(lanes, 2)];
}
