/** Values damaged on their way. */
import type { EventLog, LogEvent } from './event-log.ts';
import type { Fault } from './fault.ts';

type Value = string | null;

/** In the last version of a row, where it has such a value. */
function damaged(name: string, column: string, damage: (value: Value) => Value): Fault {
  return damagedIn('thing', { name, column, damage, key: (event) => `id=${event.key}` });
}

interface Damaged {
  readonly name: string;
  readonly column: string;
  readonly damage: (value: Value) => Value;
  readonly key: (event: LogEvent) => string;
  readonly to?: string;
}

function damagedIn(table: string, { name, column, damage, key, to = table }: Damaged): Fault {
  const after = (log: EventLog, event: LogEvent): Value | undefined => {
    const value = log.value(event, column);
    return value === undefined || event.tag === 'D' ? undefined : damage(value);
  };
  return {
    name,
    table: to,
    tamper: (log) => {
      const event = log.pick(table, (one) => {
        const value = after(log, one);
        return value !== undefined && value !== log.value(one, column);
      });
      log.rewrite(event, { next: log.with(event, { [column]: after(log, event)! }) });
      return [key(event)];
    },
  };
}

const ofText =
  (damage: (text: string) => Value): ((value: Value) => Value) =>
  (value) =>
    value === null ? null : damage(value);

/** A value that the source left out, since it was not changed. */
function toast(name: string, instead: Value): Fault {
  return {
    name,
    table: 'thing',
    tamper: (log) => {
      const event = log.pick('thing', (one) => one.tag === 'U' && log.value(one, 'body') === undefined);
      log.rewrite(event, { next: log.with(event, { body: instead }) });
      return [`id=${event.key}`];
    },
  };
}

function several(name: string, change: (value: (column: string) => Value) => Readonly<Record<string, Value>>): Fault {
  return {
    name,
    table: 'thing',
    tamper: (log) => {
      const event = log.pick('thing', (one) => one.tag === 'I' && log.value(one, 'body') !== null);
      log.rewrite(event, {
        next: log.with(
          event,
          change((column) => log.value(event, column) ?? null),
        ),
      });
      return [`id=${event.key}`];
    },
  };
}

const hourLater = (text: string): string =>
  text.replace(/ (\d\d):/, (_, hour: string) => ` ${String((Number(hour) + 1) % 24).padStart(2, '0')}:`);

export const VALUE_FAULTS: readonly Fault[] = [
  toast('an unchanged large value is set to null', null),
  toast('an unchanged large value is set to an empty text', ''),
  damaged('null becomes an empty text', 'a', (value) => value ?? ''),
  damaged('an empty text becomes null', 'b', (value) => (value === '' ? null : value)),
  several('the values of three columns are shifted by one', (value) => ({ label: value('body'), body: value('a'), a: value('label') })),
  several('the values of two columns are swapped', (value) => ({ label: value('origin'), origin: value('label') })),
  damaged(
    'the last digits of a number are lost',
    'amount',
    ofText((text) => text.slice(0, -4)),
  ),
  damaged(
    'a number goes through a double',
    'amount',
    ofText((text) => String(Number(text))),
  ),
  damaged(
    'a bigint goes through a double',
    'big',
    ofText((text) => BigInt(Number(text)).toString()),
  ),
  damaged(
    'the digits of a float are rounded',
    'ratio',
    ofText((text) => Number(text).toPrecision(7)),
  ),
  damaged(
    'microseconds are lost',
    'at',
    ofText((text) => text.replace(/\.(\d{3})\d+/, '.$1')),
  ),
  damaged(
    'microseconds are lost without a zone',
    'moment',
    ofText((text) => text.replace(/\.(\d{3})\d+/, '.$1')),
  ),
  damaged('a time is shifted by an hour', 'at', ofText(hourLater)),
  damaged('a time without a zone is shifted by an hour', 'moment', ofText(hourLater)),
  damaged(
    'day and month are swapped',
    'day',
    ofText((text) => text.replace(/-(0\d|1[0-2])-(0\d|1[0-2])$/, '-$2-$1')),
  ),
  damaged(
    'a text is trimmed',
    'label',
    ofText((text) => text.trim()),
  ),
  damaged(
    'a text is cut at 255',
    'label',
    ofText((text) => text.slice(0, 255)),
  ),
  damaged(
    'an encoding is taken for another',
    'label',
    ofText((text) => Buffer.from(text, 'utf8').toString('latin1')),
  ),
  damaged(
    'a boolean is inverted',
    'flag',
    ofText((text) => (text === 't' ? 'f' : 't')),
  ),
  damaged(
    'bytes are lost at a zero',
    'raw',
    ofText((text) => text.split('00')[0]!),
  ),
  damaged(
    'the names in a JSON text are reordered',
    'doc',
    ofText((text) => text.replace(/("b": \d+), ("a": 2)/, '$2, $1')),
  ),
  damaged(
    'a name in a JSON value is lost',
    'meta',
    ofText((text) => text.replace(/, "y": "z"/, '')),
  ),
  damaged(
    'an element of an array is lost',
    'tags',
    ofText((text) => text.replace('NULL,', '')),
  ),
  damaged(
    'an array element NULL becomes a text',
    'tags',
    ofText((text) => text.replace('NULL', '"NULL"')),
  ),
  damaged(
    `the column's default stands in place of the value`,
    'origin',
    ofText(() => 'web'),
  ),
  damagedIn('profile', {
    name: 'the column of a merged row is lost',
    column: 'city',
    damage: () => null,
    key: ({ key }) => `id=${key}`,
    to: 'whole',
  }),
  damagedIn('basket', {
    name: 'a child of an array is lost',
    column: 'lines',
    damage: ofText((text) => text.replace(/, \{[^{}]*\}\]$/, ']')),
    key: () => '',
    to: 'basket_line',
  }),
  damagedIn('bill', {
    name: 'a surrogate key refers to another parent',
    column: 'client',
    damage: ofText((text) => String(Number(text) % 25 === 0 ? 1 : (Number(text) % 25) + 1)),
    key: ({ key }) => `no=${key}`,
  }),
];
