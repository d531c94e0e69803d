/**
 * Whose a row of the stream is, where a migration moves only some rows of a table. Guarantee: `others` is said only of a change whose rows, before and
 * after it, the filter does not pass; what the message does not show is `unknown`.
 */
import { compileRowPredicate, type RowPredicate } from '#schemas/mapping/row-filter.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeTuple, locateTuples, type Relation, TAG, type TupleOffsets } from '#schemas/pgoutput/message.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { RowOwner, WhoseRows } from '#services/reader/left-out.ts';
import { RelationResolver } from '#services/sink/bind-relation.ts';

/** Fields of the filter's columns in a tuple of the relation. */
interface Bound {
  readonly relation: Relation;
  readonly fields: readonly number[];
  readonly passes: RowPredicate;
}

/** @param tables Those of the catalogue that are read. */
export function ownerOf(mapping: CompiledMapping, tables: readonly CatalogTable[]): WhoseRows {
  const resolver = new RelationResolver(mapping, tables);
  const known = new Map<number, Bound | undefined>();
  const at: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  return (relation, message) => {
    if (!known.has(relation.oid) || (known.get(relation.oid)?.relation ?? relation) !== relation)
      known.set(relation.oid, bind(resolver, relation));
    const bound = known.get(relation.oid);
    if (bound === undefined || message[0] === TAG.truncate) return 'ours';
    locateTuples(message, at);
    const after = at.next === 0 ? undefined : judge(bound, message, at.next);
    if (after === 'ours') return after;
    // An update without an old row left its key alone.
    const isKept = message[0] === TAG.update && at.old === 0 && bound.fields.every((field) => relation.columns[field]?.isKey === true);
    const before = at.old > 0 ? judge(bound, message, at.old) : message[0] === TAG.insert || isKept ? 'others' : 'unknown';
    return before === 'others' ? (after ?? before) : before;
  };
}

/** Undefined: all rows are ours. */
function bind(resolver: RelationResolver, relation: Relation): Bound | undefined {
  const [first, ...others] = resolver.resolve(relation);
  if (first?.filter === undefined || others.length > 0) return undefined;
  const fields = first.filter.conditions.map(({ column }) => relation.columns.findIndex(({ name }) => name === column));
  return { relation, fields, passes: compileRowPredicate(first.filter) };
}

/** Of an old row that is not whole only the key is told: the rest stands there as null. */
function judge({ fields, passes, relation }: Bound, message: Buffer, at: number): RowOwner {
  const isKeyOnly = message[at - 1] === KEY;
  const row = decodeTuple(message, at);
  const values: (string | null)[] = [];
  for (const field of fields) {
    const value = row[field];
    if (value === undefined || (isKeyOnly && relation.columns[field]?.isKey !== true)) return 'unknown';
    values.push(value);
  }
  return passes(values) ? 'ours' : 'others';
}

/** What stands before an old row of which only the key came. */
const KEY = 0x4b;
