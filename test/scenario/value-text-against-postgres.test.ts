/** What tests of the mapping say without a server, against what a server says. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import type { ColumnMapping } from '#schemas/mapping/compiled-mapping.ts';
import { castText, sourceText, targetText } from '#schemas/mapping/value-text.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { catalogOf } from '#test/support/compile.ts';
import { sharedServer } from '#test/support/postgres.ts';

const TYPES = [
  'smallint', 'integer', 'bigint', 'numeric', 'numeric(6,2)', 'numeric(10,3)', 'numeric(3,0)', 'real', 'double precision', 'boolean', 'text',
  'character varying(8)', 'character(4)', 'uuid', 'date', 'timestamp without time zone', 'timestamp(3) without time zone', 'timestamp with time zone', 'json', 'jsonb', 'money', 'time without time zone',
] as const; // prettier-ignore
const VALUES = [
  '0', '1', '-1', '5', '007', '1.5', '1.50', '-0.005', '123456.789', '32767', '32768', '2147483648', '9223372036854775807', '16777217', '1e3', '1e-3', 'NaN', 'Infinity', '0.1', '123456789012345678901234567890',
  't', 'f', 'true', 'yes', 'off', '', ' ', ' 7 ', 'ab', 'abcdefghij', '2026-11-21', '2026-11-21 22:23:24', '2026-11-21 22:23:24.123456', '2026-11-21 22:23:24+02', '0044-03-15 BC', 'infinity', '2026-02-30',
  '6BA7B811-9DAD-11D1-80B4-00C04FD430C8', '{6ba7b8119dad11d180b400c04fd430c8}', '{"b": 1, "a": [1.0, null]}', '{"a":1,"a":2}', '[]', '$1.00', '22:23:24',
]; // prettier-ignore

let client: pg.Client;
let columns: ReadonlyMap<string, CatalogColumn>;

beforeAll(async () => {
  client = await connect((await sharedServer(18)).url(), { applicationName: 'test', role: 'target' });
  const { tables } = await catalogOf(`CREATE TABLE a (${TYPES.map((type, i) => `c${i} ${type}`).join(', ')})`);
  columns = new Map(TYPES.map((type, i) => [type, tables[0]!.columns[i]!]));
});
afterAll(() => client.end());

/** As it comes out; undefined where the server refuses it, null where it has no such cast (which the compiler refuses). */
async function ask(sql: string, value: string): Promise<string | null | undefined> {
  try {
    const { rows } = await client.query<{ v: string | null }>(`SELECT ${sql} AS v`, [value]);
    return rows[0]!.v;
  } catch (error) {
    const { code = '' } = error as { code?: string };
    if (code === '42846') return null;
    if (/^(22|42)/.test(code)) return undefined;
    throw error;
  }
}

function mapped(from: string, to: string): ColumnMapping {
  const [source, target] = [columns.get(from)!, columns.get(to)!];
  return {
    target: 't',
    targetType: target.type,
    targetBaseType: target.baseType,
    source,
    cast: { fromType: source.baseType, sql: `($$)::${target.type}` },
  };
}

test('a value of a test is read as the source would print it, or refused as the source would refuse it', async () => {
  const wrong: string[] = [];
  for (const type of TYPES) {
    for (const value of VALUES) {
      const ours = sourceText(columns.get(type)!, value);
      const theirs = await ask(`$1::${type}`, value);
      // Some spellings are too free for us, and some types we let pass as they are: what must not be is another value.
      if (ours === undefined || theirs === undefined) continue;
      if (ours !== theirs && (await ask(`$1::${type}`, ours)) !== theirs) wrong.push(`${type}: ${value} → ${ours}, not ${theirs}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('a cast that is known without a server is the server’s own, for every pair of types', async () => {
  const wrong: string[] = [];
  let known = 0;
  for (const from of TYPES) {
    const values = new Set<string>();
    for (const value of VALUES) {
      const printed = await ask(`$1::${from}`, value);
      if (typeof printed === 'string') values.add(printed);
    }
    for (const to of TYPES) {
      for (const value of values) {
        const ours = castText(mapped(from, to), value);
        if (ours === undefined) continue;
        known++;
        const theirs = await ask(`($1::${from})::${to}`, value);
        if (theirs !== null && ours !== theirs) wrong.push(`${from} → ${to}: ${value} → ${ours}, not ${theirs}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(known).toBeGreaterThan(200);
});

test('a computed text that a column reads is shown as the column prints it', async () => {
  const wrong: string[] = [];
  for (const type of TYPES) {
    for (const value of VALUES) {
      const ours = targetText({ targetType: columns.get(type)!.type, targetBaseType: columns.get(type)!.baseType }, value);
      const theirs = await ask(`$1::${type}`, value);
      if (typeof theirs === 'string' && ours !== value && ours !== theirs) wrong.push(`${type}: ${value} → ${ours}, not ${theirs}`);
    }
  }
  expect(wrong).toEqual([]);
});
