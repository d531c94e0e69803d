/**
 * `waves:` of the migration file, as zod: the tenants or regions that move one after another. Guarantee: each unit is in one wave at most, and each
 * wave's name gives a migration's name of its own, which is no other one's way back.
 */
import { z } from 'zod';
import { expected, NAME_LENGTH_MAX, sqlName } from './file-terms.ts';
import type { WaveEntry, WavesEntry } from './migration-file.ts';
import { span } from './span.ts';
import { SHARED_WAVE, waveName } from './wave-name.ts';
import type { Path, Place } from './yaml-source.ts';

const DAY_MS = 86_400_000;
const WAVE_PATTERN = /^[a-z0-9_]+$/;
/** Of a wave that takes every unit that no other one names. */
const REST = '*';

const table = z.string(expected('a table as schema.table, for example public.orders or public.*'));
const tables = z.array(table, expected('a list of tables')).default([]);
const unit = z.union([z.string(), z.number(), z.boolean(), z.null()], expected('a unit, for example acme'));
const units = z.union([unit, z.array(unit).min(1)], expected('a unit, a list of units, or "*" for all others'));

export const waves = z
  .strictObject(
    {
      by: sqlName.describe('Column of the source that tells whose a row is: the tenant, or the region.'),
      columns: z
        .record(z.string(), sqlName, expected('a block of schema.table: column'))
        .default({})
        .describe('Tables in which that column is called otherwise.'),
      units: z
        .union(
          [z.array(unit).min(1), z.record(z.string(), units)],
          expected('a list of units, each a wave of its own, or a block of wave: its units'),
        )
        .describe('The waves, in the order in which they are meant to move. A wave of "*" takes all units that are not named.'),
      shared: tables.describe('Tables (globs) that belong to no unit: they are a wave of their own, named shared, which moves last.'),
      distinct: tables.describe('Tables (globs) whose keys never meet, whichever store makes them, though they do not hold the unit.'),
      observation: span({ minMs: 0, maxMs: 366 * DAY_MS, example: '24h' })
        .prefault('0s')
        .describe('So long after the cut-over of a wave no other one is cut over.'),
    },
    expected('a block of by: column and units: …'),
  )
  .optional();

type Wrong = (message: string, at: Path) => void;
type WavesInput = NonNullable<z.output<typeof waves>>;

/** Values under `units` are the text that stands there: 007 is not 7. */
export function keepsTextInWaves(path: Path): boolean {
  return path[0] === 'waves' && path[1] === 'units';
}

export function buildWaves(parsed: WavesInput, name: string, { wrong, place }: { wrong: Wrong; place: Place }): WavesEntry {
  const { units: given, columns, observation, ...rest } = parsed;
  const listed = Array.isArray(given);
  const list: WaveEntry[] = listed
    ? given.map((one) => ({ name: String(one), units: [textOf(one)] }))
    : Object.entries(given).map(([wave, its]) => ({
        name: wave,
        units: its === REST ? REST : (Array.isArray(its) ? its : [its]).map(textOf),
      }));
  list.forEach((wave, i) => {
    const at: Path = ['waves', 'units', listed ? i : wave.name];
    for (const fault of [nameFault(wave.name, name, listed), unitsFault(wave, list.slice(0, i))]) if (fault !== undefined) wrong(fault, at);
  });
  return {
    ...rest,
    columns: Object.entries(columns).map(([of, column]) => ({ table: of, column })),
    observationMs: observation,
    waves: list,
    ...place,
  };
}

function textOf(given: z.output<typeof unit>): string | null {
  return given === null ? null : String(given);
}

function nameFault(wave: string, name: string, listed: boolean): string | undefined {
  if (!WAVE_PATTERN.test(wave)) {
    const how = listed ? ': write `units` as a block of wave: its units' : '';
    return `the name of a wave has small letters, digits and underscores${how}`;
  }
  if (wave === SHARED_WAVE) return `"${SHARED_WAVE}" is the wave of the tables under \`shared\``;
  if (/(?:^|_)reverse$/.test(wave)) return 'this name is that of a way back';
  const whole = waveName(name, wave);
  return whole.length > NAME_LENGTH_MAX
    ? `${whole} would be the name of its migration, and has more than ${NAME_LENGTH_MAX} characters`
    : undefined;
}

function unitsFault({ units: own }: WaveEntry, before: readonly WaveEntry[]): string | undefined {
  if (own === REST) return before.some(({ units: its }) => its === REST) ? 'another wave takes all other units already' : undefined;
  const twice = own.find((one, i) => own.indexOf(one) !== i || before.some(({ units: its }) => its !== REST && its.includes(one)));
  if (twice !== undefined) return 'this unit is in two waves';
  return own.includes(REST) ? '"*" stands alone: it is all units that no wave names' : undefined;
}
