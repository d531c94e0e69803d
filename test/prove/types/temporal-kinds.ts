/** Dates, times and their ranges, to the edges of what PostgreSQL holds. */
import type { Random } from '#test/support/random.ts';
import { type TypeKind, withMultiranges } from './type-kind.ts';
import { digits, type Make, mostly, pad, pick, rangeOf } from './random-values.ts';

function day(random: Random, latest = 200_000): string {
  const year = latest > 9999 && random.chance(0.1) ? random.between(10_000, latest) : random.between(1, 2100);
  return `${pad(year, 4)}-${pad(random.between(1, 12), 2)}-${pad(random.between(1, 28), 2)}`;
}

function clock(random: Random): string {
  const fraction = random.chance(0.6) ? `.${digits(random, 6)}` : '';
  return `${pad(random.between(0, 23), 2)}:${pad(random.between(0, 59), 2)}:${pad(random.between(0, 59), 2)}${fraction}`;
}

const zone = (random: Random): string => pick(random, ['+00', '-08', '+05:30', '+14', '-15:59', '+12:45', '+15:59:59', '-00:44:30']);
const moment = (random: Random): string =>
  random.chance(0.1) ? `${day(random, 4000)} ${clock(random)} BC` : `${day(random)} ${clock(random)}`;
const signed = (random: Random, most: number): number => random.between(-most, most);

const interval: Make = mostly(
  (random) =>
    `${signed(random, 999)} years ${signed(random, 11)} mons ${signed(random, 5000)} days ${pick(random, ['', '-'])}${random.between(0, 9999)}:${random.between(10, 59)}:${random.between(10, 59)}.${digits(random, 6)}`,
  '0', '-1 day +00:00:01', '1 year -1 day', '-178000000 years', '00:00:00.000001', '-00:00:00.000001', '1 mon', '24:00:00', '1 day', '-1000000:59:59.999999',
); // prettier-ignore

const BOUNDS = {
  day: mostly(day, 'infinity', '-infinity', '2000-02-29'),
  moment: mostly((random) => `${day(random)} ${clock(random)}`, 'infinity', '-infinity'),
};

/** In the order of time, for texts as `day` and `moment` make them. */
function byTime(a: string, b: string): number {
  const rank = (text: string): string =>
    text === 'infinity' ? '~' : text === '-infinity' ? '' : text.replace(/^\d+/, (year) => year.padStart(8, '0'));
  return rank(a) < rank(b) ? -1 : 1;
}

export function temporalKinds(version: number): readonly TypeKind[] {
  const timetz: Make = mostly((random) => clock(random) + zone(random), '24:00:00-15:59:59', '00:00:00+15:59:59', '12:00:00+00');
  const time: Make = mostly(clock, '24:00:00', '00:00:00', '23:59:59.999999');
  const timestamp: Make = mostly(
    moment,
    'infinity',
    '-infinity',
    '4714-11-24 00:00:00 BC',
    '294276-12-31 23:59:59.999999',
    '0001-01-01 00:00:00',
    '1969-12-31 23:59:59.999999',
    '2000-01-01',
  );
  const timestamptz: Make = mostly(
    (random) => moment(random).replace(/( BC)?$/, `${zone(random)}$1`),
    'infinity',
    '-infinity',
    '4714-11-24 00:00:00+00 BC',
    '294276-12-31 23:59:59.999999+00',
    '2024-10-27 02:30:00+02',
    '2024-03-31 01:00:00+00',
  );
  return [
    { name: 'date', sql: 'date', make: mostly((random) => (random.chance(0.1) ? `${day(random, 4000)} BC` : day(random)), 'infinity', '-infinity', '4714-11-24 BC', '5874897-12-31', '0001-01-01', '2000-02-29') },
    { name: 'time', sql: 'time', make: time },
    { name: 'time_3', sql: 'time(3)', make: time },
    { name: 'timetz', sql: 'timetz', make: timetz },
    { name: 'timetz_2', sql: 'timetz(2)', make: timetz },
    { name: 'timestamp', sql: 'timestamp', make: timestamp },
    { name: 'timestamp_0', sql: 'timestamp(0)', make: mostly(moment, 'infinity') },
    { name: 'timestamptz', sql: 'timestamptz', make: timestamptz },
    { name: 'timestamptz_3', sql: 'timestamptz(3)', make: mostly((random) => `${day(random)} ${clock(random)}${zone(random)}`, '-infinity') },
    { name: 'interval', sql: 'interval', make: version >= 17 ? mostly(interval, 'infinity', '-infinity') : interval },
    { name: 'interval_2', sql: 'interval(2)', make: (random) => `${signed(random, 99)} days ${clock(random)}` },
    { name: 'interval_ym', sql: 'interval year to month', make: (random) => `${signed(random, 99)} years ${signed(random, 11)} mons` },
    ...withMultiranges([
      { name: 'daterange', sql: 'daterange', make: rangeOf(BOUNDS.day, byTime) },
      { name: 'tsrange', sql: 'tsrange', make: rangeOf(BOUNDS.moment, byTime) },
      { name: 'tstzrange', sql: 'tstzrange', make: rangeOf((random) => BOUNDS.moment(random).replace(/\d$/, '$&+00'), byTime) },
    ]),
  ]; // prettier-ignore
}
