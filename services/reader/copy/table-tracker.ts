/**
 * Changes of one relation (table or leaf) while its table is copied. Guarantee: each change of a key reaches every open window of the
 * relation, and a key change with absent columns asks for the new key's re-copy. Does nothing costly when neither is needed.
 */
import type { Lsn } from '#schemas/lsn.ts';
import { locateTuples, TAG, type Begin, type Relation, type TupleOffsets } from '#schemas/pgoutput/message.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Attempt } from './attempt.ts';
import type { CopyTable } from './copy-table.ts';
import { forEachKey, hasAbsent, keyOfTuple, keyPositions, presentValues, type RowKey } from './row-key.ts';

const NEW_TUPLE = 0x4e;
/**
 * A window that grows beyond this forgets what does not concern its chunk's rows; before they are read it is given up, and the chunk
 * read again: the copy must not take the memory that the stream needs.
 */
const MAX_WINDOW_BYTES = 32 << 20;

export class TableTracker {
  readonly table: CopyTable;
  readonly oid: number;
  readonly windows = new Set<Attempt>();
  readonly #onMovedKey: (key: RowKey, cause: Lsn) => void;
  readonly #tuples: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  #relation: Relation | undefined;
  #positions: readonly number[] | undefined;

  constructor(table: CopyTable, oid: number, onMovedKey: (key: RowKey, cause: Lsn) => void) {
    this.table = table;
    this.oid = oid;
    this.#onMovedKey = onMovedKey;
  }

  get isActive(): boolean {
    return this.windows.size > 0 || this.#watchesMoves;
  }

  /**
   * While the table is copied, or rows of it are still to be copied again, the target may lack the row under its old key, and with it
   * the absent columns of a moved row. Else the sink carries them over.
   */
  get #watchesMoves(): boolean {
    const { table } = this;
    return !table.isKeyless && (table.state === 'copying' || !table.keys.isDelivered());
  }

  /** @returns why the windows of this relation cannot be kept, if so. */
  onChange(m: Buffer, relation: Relation, begin: Begin): string | undefined {
    if (this.windows.size === 0 && (m[0] !== TAG.update || m[5] === NEW_TUPLE)) return undefined;
    if (this.table.isKeyless) return this.#keep(m, begin);
    if (this.#relation !== relation) {
      this.#relation = relation;
      this.#positions = keyPositions(relation, this.table.keyColumns);
    }
    const positions = this.#positions;
    if (!positions) return 'the stream describes the table without its key';
    const problem = m[0] === TAG.update ? this.#onUpdate(m, relation, positions, begin) : this.#onWhole(m, positions);
    return problem ?? this.#keep(m, begin);
  }

  #onWhole(m: Buffer, positions: readonly number[]): string | undefined {
    const tuples = this.#tuples;
    locateTuples(m, tuples);
    const key = keyOfTuple(m, tuples.next || tuples.old, positions);
    if (key === undefined) return 'a change came without its key';
    this.#each((attempt) => attempt.window.onFull(key));
    return undefined;
  }

  #onUpdate(m: Buffer, relation: Relation, positions: readonly number[], begin: Begin): string | undefined {
    const tuples = this.#tuples;
    locateTuples(m, tuples);
    const oldKey = tuples.old > 0 ? keyOfTuple(m, tuples.old, positions) : undefined;
    const key = keyOfTuple(m, tuples.next, positions) ?? mixedKey(m, tuples, relation, this.table.keyColumns);
    if (key === undefined) return 'a change came without its key';
    const absent = hasAbsent(m, tuples.next);
    if (oldKey === undefined || oldKey === key) {
      if (this.windows.size === 0) return undefined;
      if (!absent) this.#each((attempt) => attempt.window.onFull(key));
      else {
        const row = presentValues(m, tuples.next, relation);
        this.#each((attempt) => attempt.window.onPartial(key, row));
      }
      return undefined;
    }
    this.#each((attempt) => attempt.window.onMove(oldKey, key));
    const mayLackOld = this.table.state === 'copying' || this.table.keys.isPending(oldKey);
    if (absent && mayLackOld && guarded('key-recopy')) this.#onMovedKey(key, begin.commitLsn);
    return undefined;
  }

  #each(visit: (attempt: Attempt) => void): void {
    for (const attempt of this.windows) if (attempt.work.chunk.kind !== 'replace') visit(attempt);
  }

  /** Whole-table chunks repeat the changes that their snapshot did not see. */
  #keep(m: Buffer, begin: Begin): string | undefined {
    for (const attempt of this.windows) {
      attempt.kept?.add(begin.xid, m);
      if (attempt.window.bytes <= MAX_WINDOW_BYTES) continue;
      // Only changes of the chunk's own keys matter once they are known.
      if (attempt.rows && !attempt.window.isRestricted) attempt.window.restrictTo(keysOf(attempt));
      else if (!attempt.window.isRestricted) return 'its window holds too many changes';
    }
    return undefined;
  }
}

function keysOf(attempt: Attempt): Set<RowKey> {
  const { columns, work, rows } = attempt;
  const keys = new Set<RowKey>();
  for (const { bytes } of rows!.spool) forEachKey(bytes, columns, work.table.keyColumns, (key) => keys.add(key));
  return keys;
}

/** A key column stored out of line and unchanged is absent in the new tuple; the old one holds it. */
function mixedKey(m: Buffer, tuples: TupleOffsets, relation: Relation, keyColumns: readonly string[]): RowKey | undefined {
  if (tuples.old === 0) return undefined;
  const next = presentValues(m, tuples.next, relation);
  const old = presentValues(m, tuples.old, relation);
  const values = keyColumns.map((name) => next.get(name) ?? old.get(name) ?? undefined);
  return values.every((value) => value !== undefined)
    ? values.map((value) => Buffer.from(value, 'utf8').toString('latin1')).join('\0')
    : undefined;
}
