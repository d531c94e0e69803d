/**
 * A sink that maps by other rules than the file's, and a store that does not write what it says it has written. A fault in the code of a
 * step itself is not among them: verify asks the same function for computed columns, and says so (`sharedFunctionOnly`).
 */
import type { Round, TargetStore, Work } from '#connectors/target/target.ts';
import type { Fault } from './fault.ts';

function mapped(name: string, table: string, from: string, to: string): Fault {
  return {
    name,
    table,
    tables: (entries) => {
      if (!entries.includes(from)) throw new Error(`the file says nothing of ${from}`);
      return entries.replace(from, to);
    },
  };
}

/** Rows that the load inserts in one transaction. */
const TOGETHER = 3;

/** The rounds of the one session that follows the source; `n` counts those that write several rows of the table. */
function rounds(name: string, table: string, change: (round: Round, n: number) => Round): Fault {
  const wrap = (store: TargetStore): TargetStore => ({
    ...store,
    open: async (events) => {
      const target = await store.open(events);
      return {
        ...target,
        consistent: (progress) => {
          const session = target.consistent(progress);
          let n = 0;
          return {
            apply: async (round) => session.apply(change(round, round.work.some((work) => writesSeveral(work, table)) ? n++ : -1)),
            rollback: () => session.rollback(),
            close: () => session.close(),
          };
        },
      };
    },
  });
  return { name, table, wrap };
}

function writesSeveral(work: Work, table: string): boolean {
  return work.kind === 'fold' && work.table.to.name === table && work.size >= TOGETHER;
}

const only = (round: Round, isKept: (work: Work) => boolean): Round => ({
  ...round,
  work: round.work.filter((work) => isKept(work)),
  places: round.places.filter((_, i) => isKept(round.work[i]!)),
});

export const SINK_FAULTS: readonly Fault[] = [
  mapped('rows of another tenant are let in', 'lead', ', where: { tenant: 1 }', ''),
  mapped('the filter takes the other tenant', 'lead', 'tenant: 1', 'tenant: 2'),
  mapped(
    'two columns of one type are swapped by the mapping',
    'thing',
    '{ from: public.thing }',
    '{ from: public.thing, columns: { a: b, b: a } }',
  ),
  mapped(
    'the mapping has a constant in place of the value',
    'thing',
    '{ from: public.thing }',
    '{ from: public.thing, set: { origin: { value: web } }, drop: [origin] }',
  ),
  mapped('a value map takes the wrong branch', 'customer', 'A: active, S: suspended', 'A: suspended, S: active'),
  mapped('amounts are divided by the wrong factor', 'customer', 'divide: 100', 'divide: 10'),
  mapped('names are joined the wrong way round', 'customer', '[first_name, last_name]', '[last_name, first_name]'),
  mapped('deletes of a table are ignored', 'stock', '{ from: public.stock }', '{ from: public.stock, deletes: ignore }'),
  mapped('truncates of a table are ignored', 'visit', '{ from: public.visit }', '{ from: public.visit, truncates: ignore }'),
  mapped('children whose element is gone stay', 'basket_line', 'ordinal: n }', 'ordinal: n, orphans: keep }'),
  // But for the table whose key the target gives: verify names its rows by that key, which a row that is not there has none of.
  rounds('a round is not written, and its position is', 'stock', (round, n) =>
    n === 0 ? only(round, ({ table }) => table.to.name === 'client') : round,
  ),
  rounds(`one table's part of the rounds is not written`, 'bill', (round) => only(round, ({ table }) => table.to.name !== 'bill')),
];
