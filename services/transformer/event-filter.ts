/** Whether an event's row passes the table's filter. Guarantee: a column that the event leaves out is looked up in the row before, and never guessed. */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compileRowPredicate } from '#schemas/mapping/row-filter.ts';
import { UnmappableRow } from '#schemas/mapping/unmappable-row.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';

/** `fields`: where the filter's columns stand in the event. @throws UnmappableRow where one is in neither row */
export type EventFilter = (row: RowFields, before: RowFields | undefined, fields: Int32Array) => boolean;

export function eventFilter({ filter }: TableMapping): EventFilter {
  if (filter === undefined) return () => true;
  const accepts = compileRowPredicate(filter);
  return (row, before, fields) => {
    const values: (string | null)[] = [];
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i]!;
      const source = row.length[field] === ABSENT_FIELD ? before : row;
      const length = source?.length[field] ?? ABSENT_FIELD;
      if (source === undefined || length === ABSENT_FIELD) throw undecided();
      values.push(length === NULL_FIELD ? null : textAt(source, field));
    }
    return accepts(values);
  };
}

function textAt({ buffer, from, length }: RowFields, field: number): string {
  const start = from[field]!;
  return buffer.toString('utf8', start, start + length[field]!);
}

function undecided(): UnmappableRow {
  return new UnmappableRow('CF-4002', 'a filter column is absent from a change: the table needs REPLICA IDENTITY FULL');
}
