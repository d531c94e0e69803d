/** Moments that are computed by whole minutes are those of the zone's clock. */
import { expect, test } from 'vitest';
import { buildStep } from '#schemas/mapping/steps/build-step.ts';
import { timestampText } from '#schemas/mapping/steps/timestamp-text.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

/** Whole hours, half and quarter ones, changes at midnight, a day left out (Apia), seconds in the offset (Monrovia until 1972). */
const ZONES =
  'America/New_York Europe/Berlin Asia/Kathmandu America/St_Johns America/Asuncion Pacific/Apia Africa/Monrovia Pacific/Kiritimati Australia/Lord_Howe UTC'.split(
    ' ',
  );
const POLICIES = ['fail', 'earlier', 'later'] as const;
const DAY_SECONDS = 86_400;
const PLAIN_LENGTH = 19;
/** With the point. */
const FRACTION_LENGTH = 7;

function outcome(block: NonNullable<Parameters<typeof buildStep>[0]['zone']>): (text: string) => string {
  const step = buildStep({ zone: block }, { inputs: [] });
  if (step.takes !== 'one') throw new Error('takes one');
  return (text) => {
    try {
      return String(step.apply(text));
    } catch (error) {
      return String(error);
    }
  };
}

/** The first day after Christ, and the last of four-digit years. */
const ENDS = [-719_162, 2_932_896];

/** Near the change of clocks, or an end of the calendar, as often as far from any, near midnight more often than not. */
function someTimestamp(random: Random, changes: readonly number[]): string {
  const marked = [...changes, ...ENDS];
  const near = random.chance(0.5);
  const days = near ? marked[random.between(0, marked.length - 1)]! + random.between(-2, 2) : random.between(-719_000, 2_933_000);
  const second = random.chance(0.5)
    ? random.between(0, DAY_SECONDS - 1)
    : [0, 3_599, 7_200, 82_800, DAY_SECONDS - 1][random.between(0, 4)]!;
  const micros = random.chance(0.5) ? 0 : [1, 100_000, 999_999, random.between(0, 999_999)][random.between(0, 3)]!;
  return timestampText(days, second * 1e6 + micros);
}

function padded(text: string): string {
  return text.includes('.') ? text.padEnd(PLAIN_LENGTH + FRACTION_LENGTH, '0') : `${text}.000000`;
}

function changesOf(zone: string): number[] {
  const days: number[] = [];
  let at: Temporal.ZonedDateTime | null = Temporal.Instant.fromEpochMilliseconds(-1e12).toZonedDateTimeISO(zone);
  while (days.length < 60 && (at = at.getTimeZoneTransition('next')) !== null)
    days.push(Math.floor(at.epochMilliseconds / 1000 / DAY_SECONDS));
  return days;
}

test.each(ZONES)('in %s a local time, and a moment, are the same in the usual spelling and in the other one', (zone) => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const changes = changesOf(zone);
  const [ambiguous, skipped] = [POLICIES[random.between(0, 2)]!, POLICIES[random.between(0, 2)]!];
  const from = outcome({ from: zone, ambiguous, skipped });
  const to = outcome({ to: zone, ambiguous, skipped });
  for (let i = 0; i < 3_000; i++) {
    const text = someTimestamp(random, changes);
    // Others than PostgreSQL write zeros at the end of a fraction.
    if (!text.includes('BC')) expect(from(padded(text)), `CROSSFADE_SEED=${seed}: ${padded(text)} from ${zone}`).toBe(from(text));
    // The T is left to the clock itself.
    expect(from(text), `CROSSFADE_SEED=${seed}: ${text} from ${zone}`).toBe(from(text.replace(' ', 'T')));
    if (!text.endsWith(' BC'))
      expect(to(`${text}+00`), `CROSSFADE_SEED=${seed}: ${text} to ${zone}`).toBe(to(`${text.replace(' ', 'T')}+00`));
  }
});

test.each([
  '2024-01-05 24:00:00',
  '2024-01-05 12:60:00',
  '2024-01-05 12:00:60',
  '2024-01-05 12:00:00.',
  '2024-01-05 12:00:00.1234567',
  '2024-01-05 12:00:00.5x',
  '2024-01-05 12-00:00',
  '2024x01-05 12:00:00',
  '2024-01x05 12:00:00',
  '2023-17-05 12:00:00',
  '2024-00-37 12:00:00',
  '2024-01-05 12:00:00+01',
  '2024-01-05 12:00:00.50',
  '2024-01-05 1a:00:00',
  '2024-01-05 12:00',
  '2024-1-05 12:00:00',
])('%j is what it was before its day was known', (text) => {
  const known = outcome({ from: 'Europe/Berlin', ambiguous: 'fail', skipped: 'fail' });
  for (const day of ['2024-01-05', '2022-01-05', '2023-01-05']) expect(known(`${day} 12:00:00`)).toBe(`${day} 11:00:00+00`);
  expect(known(text)).toBe(outcome({ from: 'Europe/Berlin', ambiguous: 'fail', skipped: 'fail' })(text.replace(' ', 'T')));
});

test('with exact, a moment whose local time stands for another one is still refused', () => {
  const exact = outcome({ to: 'Europe/Berlin', ambiguous: 'later', skipped: 'later', exact: true });
  expect(exact('2024-10-27 00:30:00+00')).toContain('stands for another moment');
  expect(exact('2024-10-20 00:30:00+00')).toBe('2024-10-20 02:30:00');
});
