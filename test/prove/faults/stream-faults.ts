/** Changes lost, repeated, in another order, or applied to another row. */
import type { EventLog, LogEvent, Transaction } from './event-log.ts';
import type { Fault } from './fault.ts';
import { rowFrame } from './wire.ts';

const isInsert = ({ tag }: LogEvent): boolean => tag === 'I';
const isUpdate = ({ tag }: LogEvent): boolean => tag === 'U';
const isDelete = ({ tag }: LogEvent): boolean => tag === 'D';
const movesKey = ({ oldKey }: LogEvent): boolean => oldKey !== undefined;
const id = (key: string): string => `id=${key}`;

/** The change is not there. */
function dropped(name: string, table: string, isFit: (event: LogEvent, log: EventLog) => boolean, to: Partial<Fault> = {}): Fault {
  return {
    name,
    table,
    ...to,
    tamper: (log) => {
      const event = log.pick(table, (one) => isFit(one, log));
      log.replace(event.at);
      return to.table === undefined || to.table === 'item' ? [id(event.key)] : [];
    },
  };
}

/** Two changes of one key, next to each other, the later one standing to the end. */
function neighbours(log: EventLog, table: string, tags: string): readonly [LogEvent, LogEvent] {
  const pairs = log.of(table).flatMap((first): [LogEvent, LogEvent][] => {
    const second = log.of(table).find(({ at, key, oldKey }) => at > first.at && key === first.key && oldKey === undefined);
    return second !== undefined && first.tag + second.tag === tags && log.isLast(second) ? [[first, second]] : [];
  });
  return log.choose(`${tags} of one key of ${table}`, pairs);
}

function swapped(name: string, table: string, tags: string): Fault {
  return {
    name,
    table,
    tamper: (log) => {
      const [first, second] = neighbours(log, table, tags);
      log.replace(first.at, rowFrame(second));
      log.replace(second.at, rowFrame(first));
      return [id(first.key)];
    },
  };
}

/** A transaction of several rows of one table, and of nothing else, that stay as it left them. */
function bigTransaction(log: EventLog, table: string): Transaction {
  const all = [...new Set(log.of(table).map(({ transaction }) => transaction))];
  return log.choose(
    `transaction of several rows of ${table}`,
    all.filter(
      ({ begin, end, events }) =>
        events.length > 1 && end - begin === events.length + 1 && events.every((event) => event.table === table && log.isLast(event)),
    ),
  );
}

export const STREAM_FAULTS: readonly Fault[] = [
  dropped('an insert is dropped', 'thing', isInsert),
  dropped('an update is dropped', 'thing', isUpdate),
  dropped('a delete is ignored', 'thing', isDelete),
  dropped('a row that leaves the filter stays', 'lead', (event, log) => isUpdate(event) && log.value(event, 'tenant') === '2'),
  dropped('a row that enters the filter is lost', 'lead', (event, log) => isUpdate(event) && log.value(event, 'tenant') === '1'),
  dropped('a deleted row is not marked (soft delete)', 'item', isDelete),
  dropped('a delete is lost in a table without a key', 'journal', isDelete, { table: 'journal' }),
  {
    name: 'an insert is doubled in a table without a key',
    table: 'journal',
    tamper: (log) => {
      const event = log.pick('journal', isInsert);
      log.replace(event.at, rowFrame(event), rowFrame(event));
      return [];
    },
  },
  {
    name: 'an update is doubled',
    table: 'stock',
    isHarmless: true,
    tamper: (log) => {
      const event = log.pick('stock', (one) => isUpdate(one) && !movesKey(one));
      log.replace(event.at, rowFrame(event), rowFrame(event));
      return [];
    },
  },
  {
    name: 'a whole transaction is dropped',
    table: 'stock',
    tamper: (log) => {
      const { begin, end, events } = bigTransaction(log, 'stock');
      for (let at = begin; at <= end; at++) log.replace(at);
      return events.map(({ key }) => id(key));
    },
  },
  {
    name: 'the last change of a transaction is dropped',
    table: 'stock',
    tamper: (log) => {
      const last = bigTransaction(log, 'stock').events.at(-1)!;
      log.replace(last.at);
      return [id(last.key)];
    },
  },
  {
    name: 'a transaction is applied twice in a table without a key',
    table: 'journal',
    tamper: (log) => {
      const { end, events } = bigTransaction(log, 'journal');
      log.replace(end, ...events.map(rowFrame), log.frames[end]!);
      return [];
    },
  },
  {
    name: 'a transaction is applied twice in a table with a key',
    table: 'stock',
    isHarmless: true,
    tamper: (log) => {
      const { end, events } = bigTransaction(log, 'stock');
      log.replace(end, ...events.map(rowFrame), log.frames[end]!);
      return [];
    },
  },
  {
    name: 'a stale overwrite: an older update once more, after the newer one',
    table: 'stock',
    tamper: (log) => {
      const [older, newer] = neighbours(log, 'stock', 'UU');
      log.replace(newer.at, rowFrame(newer), rowFrame(older));
      return [id(older.key)];
    },
  },
  swapped('two updates of one key are swapped', 'stock', 'UU'),
  swapped('an insert and the delete of its row are swapped', 'stock_old', 'ID'),
  swapped('a delete and the insert that brings its row back are swapped', 'stock_old', 'DI'),
  {
    name: 'two changes of different keys are swapped',
    table: 'stock',
    isHarmless: true,
    tamper: (log) => {
      const [one, other] = bigTransaction(log, 'stock').events as [LogEvent, LogEvent];
      log.replace(one.at, rowFrame(other));
      log.replace(other.at, rowFrame(one));
      return [];
    },
  },
  {
    name: 'order swapped between two keys: each gets the value of the other',
    table: 'stock',
    tamper: (log) => {
      const [one, other] = bigTransaction(log, 'stock').events as [LogEvent, LogEvent];
      log.rewrite(one, { next: log.with(one, { qty: log.value(other, 'qty')! }) });
      log.rewrite(other, { next: log.with(other, { qty: log.value(one, 'qty')! }) });
      return [id(one.key), id(other.key)];
    },
  },
  {
    name: 'a truncate is ignored',
    table: 'visit',
    tamper: (log) => {
      log.replace(log.truncates[0]!);
      return [];
    },
  },
  {
    name: 'a truncate empties another table',
    table: 'stock',
    tamper: (log) => {
      const frame = Buffer.from(log.frames[log.truncates[0]!]!);
      frame.writeUInt32BE(log.relation('stock').oid, 6);
      log.replace(log.truncates[0]!, frame);
      return [];
    },
  },
  {
    name: 'a delete takes the row of another key',
    table: 'stock',
    tamper: (log) => {
      const event = log.pick('stock', isDelete);
      const others = Array.from({ length: 20 }, (_, i) => `${41 + i}`).filter((key) => log.isQuiet('stock', key));
      const other = log.choose('row to take instead', others);
      log.rewrite(event, { old: event.old!.map((value) => (value === event.key ? other : value)) });
      return [id(event.key), id(other)];
    },
  },
  {
    name: 'a key change is applied as an insert only',
    table: 'stock',
    tamper: (log) => {
      const event = log.pick('stock', movesKey);
      log.rewrite(event, { tag: 'I' });
      return [id(event.oldKey!)];
    },
  },
  {
    name: 'a key change is applied as a delete only',
    table: 'stock',
    tamper: (log) => {
      const event = log.pick('stock', movesKey);
      log.rewrite(event, { tag: 'D' });
      return [id(event.key)];
    },
  },
  {
    name: `one partition's changes are lost`,
    table: 'metric',
    tamper: (log) => {
      const lost = log.of('metric_late');
      for (const { at } of lost) log.replace(at);
      return [lost.filter((event) => log.isLast(event)).at(-1)!].map(({ key }) => `day=${key.split(',')[0]} id=${key.split(',')[1]}`);
    },
  },
  {
    name: 'a change is applied to the sibling table of the same shape',
    table: 'stock_old',
    tamper: (log) => {
      const { oid, at } = log.relation('stock_old');
      const event = log.pick('stock', (one) => isInsert(one) && one.at > at);
      log.rewrite(event, { oid });
      return [id(event.key)];
    },
  },
];
