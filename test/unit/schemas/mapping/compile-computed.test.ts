import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { rowFunction, type Field, type RowRefusal } from '#schemas/mapping/steps/table-steps.ts';
import { tableTag } from '#schemas/mapping/table-tag.ts';
import { catalogOf, compile, told } from '#test/support/compile.ts';

const HEAD = 'crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables:\n';

function read(tables: string, env: Record<string, string> = {}): string[] {
  return told(readMigrationFile({ path: 'm.yaml', text: HEAD + tables, env }).findings);
}

describe('a wrong set: block', () => {
  test('has all its faults told at once, each with its place and the nearest name', () => {
    const tables = `  - from: public.a
    set:
      b: { form: x }
      c: { from: x, value: 1 }
      d: { from: x, steps: [trimm, { deffault: 1 }, { trim: both, case: lower }, { case: title }] }
      e: { from: [], steps: [{ map: { vaules: {} } }] }
      f: { from: x, steps: [{ zone: {} }, { decimal: { scale: 2, round: up-half } }, { decimal: { scale: 1, divide: 0.0 } }] }
      g: { from: x, steps: [{ hmac: { key: short } }, { extract: a.b }, { split: { by: ",", take: 0 } }] }
      h: { value: 1, steps: [trim] }
      i: text
`;
    expect(read(tables)).toMatchInlineSnapshot(`
      [
        "8:12 CF-1004 unknown key "form" in "tables[0].set.b"; did you mean "from"?",
        "9:10 CF-1004 "tables[0].set.c": expected either value:, or from: with steps:",
        "10:29 CF-1004 "tables[0].set.d.steps[0]": expected a step: trim, lower, upper, concat, coalesce, object, or a block like { default: … }; did you mean "trim"?",
        "10:38 CF-1004 unknown key "deffault" in "tables[0].set.d.steps[1]"; did you mean "default"?",
        "10:53 CF-1004 "tables[0].set.d.steps[2]": expected exactly one step in each block of the list",
        "10:90 CF-1004 "tables[0].set.d.steps[3].case": expected lower or upper",
        "11:18 CF-1004 "tables[0].set.e.from": expected at least one column",
        "11:39 CF-1004 unknown key "vaules" in "tables[0].set.e.steps[0].map"; did you mean "values"?",
        "12:37 CF-1004 "tables[0].set.f.steps[0].zone": expected either from: or to:",
        "12:73 CF-1004 "tables[0].set.f.steps[1].decimal.round": expected half-up, half-down, half-even, up, down, ceiling or floor",
        "12:117 CF-1004 "tables[0].set.f.steps[2].decimal.divide": expected a number other than 0",
        "13:44 CF-1004 a key is given by reference only, as \${ENV}",
        "13:44 CF-1004 "tables[0].set.g.steps[0].hmac.key": expected a key of at least 16 characters",
        "13:66 CF-1004 "tables[0].set.g.steps[1].extract": expected a JSON pointer, for example /address/street",
        "13:99 CF-1004 "tables[0].set.g.steps[2].split.take": expected a whole number, 1 for the first, -1 for the last",
        "14:10 CF-1004 "tables[0].set.h": a value that is the same for every row takes no steps",
        "15:10 CF-1004 "tables[0].set.i": expected a block of from and steps, or of value",
      ]
    `);
  });

  test('has each constant told that no text of PostgreSQL can be', () => {
    const tables = `  - from: public.a
    set:
      b: { value: "a\\0b" }
      c: { value: "\\ud83d" }
      d: { from: x, steps: [{ default: "\\0" }, { nullIf: "\\udc00" }, { map: { values: { A: "\\0" }, else: { value: "\\0" } } }] }
      e: { from: x, steps: [{ cast: { to: int, onError: { value: "\\0" } } }, { mask: { with: "\\0" } }] }
      f: { from: [x, y], steps: [{ concat: "\\0" }] }
      g: { from: [x, y], steps: [{ concat: { sep: "\\ud83d" } }] }
      h: { value: "\\ud83d\\ude00 \\t" }
`;
    const said = 'expected a text that PostgreSQL can hold, without NUL (\\0) or half of a character';
    expect(read(tables)).toEqual(
      [
        '8:19 CF-1004 "tables[0].set.b.value"',
        '9:19 CF-1004 "tables[0].set.c.value"',
        '10:40 CF-1004 "tables[0].set.d.steps[0].default"',
        '10:58 CF-1004 "tables[0].set.d.steps[1].nullIf"',
        '10:92 CF-1004 "tables[0].set.d.steps[2].map.values.A"',
        '10:115 CF-1004 "tables[0].set.d.steps[2].map.else.value"',
        '11:66 CF-1004 "tables[0].set.e.steps[0].cast.onError.value"',
        '11:94 CF-1004 "tables[0].set.e.steps[1].mask.with"',
        '12:44 CF-1004 "tables[0].set.f.steps[0].concat"',
        '13:51 CF-1004 "tables[0].set.g.steps[0].concat.sep"',
      ].map((place) => `${place}: ${said}`),
    );
  });

  test('steps that stand under columns are told where they belong', () => {
    expect(read('  - { from: public.a, columns: { b: { to: c, default: x } } }\n')).toEqual([
      '6:46 CF-1004 "default" in "tables[0].columns.b" is a step: write it under set:, by target column',
    ]);
  });

  test('takes no key that stands in the file itself, and shows none', () => {
    const tables = (key: string): string => `  - { from: public.a, set: { b: { from: x, steps: [{ tokenise: { key: "${key}" } }] } } }\n`;
    expect(read(tables('0123456789abcdef'))).toEqual(['6:71 CF-1004 a key is given by reference only, as ${ENV}']);
    expect(read(tables('${KEY}'))).toEqual(['6:71 CF-1005 the environment variable KEY is not set']);
    expect(read(tables('${KEY}'), { KEY: 'short' })).toEqual([
      '6:71 CF-1004 "tables[0].set.b.steps[0].tokenise.key": expected a key of at least 16 characters',
    ]);
    const { file } = readMigrationFile({ path: 'm.yaml', text: HEAD + tables('${KEY}'), env: { KEY: '0123456789abcdef' } });
    expect(JSON.stringify(file)).not.toContain('0123456789abcdef');
  });

  test('does not fit the tables: told with what mends it', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, x text, y text, z int, g text GENERATED ALWAYS AS (x) STORED)';
    const target = `CREATE TABLE a (id int PRIMARY KEY, x text, n numeric(5,1), t timestamptz, w text NOT NULL, g text GENERATED ALWAYS AS (x) STORED)`;
    const tables = `  - from: public.a
    drop: [y, z]
    set:
      m: { from: x }
      x: { from: xx, steps: [trim] }
      n: { value: 1.25 }
      t: { from: x, steps: [{ zone: { from: Europe/Berlni } }, concat] }
      w: { from: [x, y] }
      g: { from: g }
`;
    const { findings } = await compile({ source, target, tables });
    expect(told(findings)).toMatchInlineSnapshot(`
      [
        "9:7 CF-1008 public.a of the target has no column "m"",
        "10:7 CF-1008 "x" is made of column "xx", which public.a does not have; did you mean "x"?",
        "11:7 CF-4001 "n" of type numeric(5,1): the value has more than 1 digits behind the point, which the column would round",
        "12:29 CF-4001 "t": zone: "Europe/Berlni" is not an IANA time zone; did you mean "Europe/Berlin"?",
        "12:64 CF-4001 "t": concat takes several columns, so it must be the first step",
        "13:7 CF-4001 "w" is made of 2 columns, but its first step takes one",
        "14:7 CF-4001 "g" is made of column "g" of public.a, which is generated and so not in the stream",
      ]
    `);
  });

  test('gives every row a value that its column does not take, or another one each time', async () => {
    const target = `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE a (id int PRIMARY KEY, i int, v varchar(3), c char(3), b bool, m mood, n numeric(4,1),
      u uuid, j jsonb, d date, e date, f timestamp, g text NOT NULL DEFAULT 'x', h numeric, k varchar(3), l bool, o date)`;
    const tables = `  - from: public.a
    set:
      i: { value: 3000000000 }
      v: { value: abcd }
      c: { value: abcd }
      b: { value: maybe }
      m: { value: happy }
      n: { value: 1234.5 }
      u: { value: 1234 }
      j: { value: "{a" }
      d: { value: 2024-02-30 }
      e: { value: today }
      f: { value: Now }
      g: { value: null }
      h: { value: -Infinity }
      k: { value: "abc " }
      l: { value: yes }
      o: { value: epoch }
`;
    const { findings } = await compile({ source: 'CREATE TABLE a (id int PRIMARY KEY)', target, tables });
    expect(told(findings)).toMatchInlineSnapshot(`
      [
        "8:7 CF-4001 "i" of type integer: the value is no integer as PostgreSQL prints it",
        "9:7 CF-4001 "v" of type character varying(3): the value has more than 3 characters",
        "10:7 CF-4001 "c" of type character(3): the value has more than 3 characters",
        "11:7 CF-4001 "b" of type boolean: the value is no boolean as PostgreSQL prints it",
        "12:7 CF-4001 "m" of type public.mood: the value is no label of public.mood",
        "13:7 CF-4001 "n" of type numeric(4,1): the value is no numeric(4,1) as PostgreSQL prints it",
        "14:7 CF-4001 "u" of type uuid: the value is no uuid as PostgreSQL prints it",
        "15:7 CF-4001 "j" of type jsonb: the value is no jsonb as PostgreSQL prints it",
        "16:7 CF-4001 "d" of type date: the value is no date as PostgreSQL prints it",
        "17:7 CF-4001 "e" of type date: the value means another time whenever it is read",
        "18:7 CF-4001 "f" of type timestamp without time zone: the value means another time whenever it is read",
        "19:7 CF-4001 "g" of type text: the column is NOT NULL",
      ]
    `);
  });

  test('compares a column with what its type cannot hold', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, b bool, c char(3), n int, d date)';
    const tables = `  - from: public.a
    drop: [b, c, n, d]
    set:
      p: { from: b, steps: [{ map: { values: { true: x, maybe: y } } }] }
      q: { from: c, steps: [{ nullIf: abcd }] }
      r: { from: n, steps: [{ default: none }, { map: { values: { 1: a, none: b } } }] }
      s: { from: b, steps: [{ map: { values: { true: x, t: y } } }] }
      t: { from: n, steps: [{ nullIf: 0 }, { nullIf: "1.0" }] }
      u: { from: d, steps: [{ nullIf: infinity }, { nullIf: 0001-01-01 BC }] }
`;
    const { findings } = await compile({
      source,
      target: 'CREATE TABLE a (id int PRIMARY KEY, p text, q text, r text, s text, t text, u text)',
      tables,
    });
    expect(told(findings)).toEqual([
      '9:29 CF-4001 "p": map: column "b" of type boolean never is "maybe"',
      '10:29 CF-4001 "q": nullIf: column "c" of type character(3) never is "abcd"',
      '12:29 CF-4001 "s": map: "t" is the same value as another that is listed',
      '13:44 CF-4001 "t": nullIf: column "n" of type integer never is "1.0"',
    ]);
  });

  test('does not follow the rules of types that columns follow', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, n numeric, b bigint, t timestamp, z timestamptz, x text, i int)';
    const target = `CREATE TABLE a (id int PRIMARY KEY, a real, b double precision, c money, d timestamptz, e timestamp, f timestamp,
      g timestamptz, h date, i bigint, j date, k text, l timestamptz, m double precision)`;
    const tables = `  - from: public.a
    drop: [n, b, t, z, x]
    set:
      a: { from: n }
      b: { from: b, steps: [{ default: 0 }] }
      c: { from: n, steps: [{ decimal: { scale: 2, round: half-up } }] }
      d: { from: t }
      e: { from: t, steps: [{ zone: { from: Europe/Berlin } }] }
      f: { from: z, steps: [{ zone: { to: Europe/Berlin } }] }
      g: { from: z, steps: [{ zone: { to: Europe/Berlin } }, { default: infinity }] }
      h: { from: z, steps: [{ zone: { to: Europe/Berlin } }] }
      i: { from: i }
      j: { value: 2024-01-01 10:00 }
      k: { from: t, steps: [{ zone: { from: Europe/Berlin } }] }
      l: { value: 2024-01-01 }
      m: { from: n, steps: [{ cast: double precision }] }
`;
    const { findings } = await compile({ source, target, tables });
    expect(told(findings)).toMatchInlineSnapshot(`
      [
        "9:7 CF-4001 "a" is real, made of "n", which is numeric: values may be lost or printed otherwise",
        "10:7 CF-4001 "b" is double precision, which may round what is made of "b"",
        "11:7 CF-4001 "c" is money, which may round what is made of "n"",
        "12:7 CF-4001 "d" is timestamp with time zone, made of "t", which is timestamp without time zone: which moment a local time means depends on its time zone",
        "13:29 CF-4001 "e": \`zone: { from }\` gives a moment, and the column is timestamp without time zone",
        "15:29 CF-4001 "g": \`zone: { to }\` gives a local time, and the column is timestamp with time zone",
        "16:29 CF-4001 "h": \`zone: { to }\` gives a local time, and the column is date",
        "18:7 CF-4001 "j" of type date: the value has a time of day, which the column would drop",
        "20:7 CF-4001 "l" of type timestamp with time zone: the value has no zone, and the column would take that of the session",
      ]
    `);
  });

  test('key columns cannot be computed, and what is made of several long columns needs the whole old row', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, x text, y text)';
    const target = 'CREATE TABLE a (id text PRIMARY KEY, xy text)';
    const key = await compile({
      source,
      target,
      tables: '  - { from: public.a, set: { id: { from: id, steps: [trim] }, xy: { from: [x, y], steps: [concat] } } }\n',
    });
    expect(told(key.findings).at(-1)).toBe('6:30 CF-4001 key column "id" of public.a is only used to compute other columns');
    const long = await compile({
      source,
      target: target.replace('id text', 'id int'),
      tables: '  - { from: public.a, set: { xy: { from: [x, y], steps: [concat] } } }\n',
    });
    expect(told(long.findings)).toEqual([
      '6:13 CF-2008 public.a: "xy" is made of several columns, and "x" may be left out of an update (unchanged TOAST), so its replica identity must be FULL',
    ]);
    expect(long.findings[0]?.remedy).toBe('Run on the source: ALTER TABLE "public"."a" REPLICA IDENTITY FULL;');
  });

  test('a source column that would go by its name where the file computes something else is named', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, x text, y text)';
    const { findings } = await compile({
      source,
      target: source,
      tables: '  - { from: public.a, set: { x: { value: k }, y: { from: x } } }\n',
    });
    expect(told(findings)).toEqual(['6:13 CF-4001 column "y" of public.a goes to "y", which `set` computes without it']);
  });
});

const SOURCE = 'CREATE TABLE a (id int PRIMARY KEY, x varchar(9), y int, z text); ALTER TABLE a REPLICA IDENTITY FULL';
const TARGET = 'CREATE TABLE a (id int PRIMARY KEY, xy text, n numeric(5,1), s timestamp(3), k text, z text, h text)';

async function tableOf(
  set: string,
  env: Record<string, string> = {},
  source: string = SOURCE,
  target: string = TARGET,
): Promise<TableMapping> {
  const { file, findings } = readMigrationFile({
    path: 'm.yaml',
    text: `${HEAD}  - { from: public.a, unmapped: ignore, set: ${set} }\n`,
    env,
  });
  if (file === undefined) throw new Error(told(findings).join('\n'));
  const result = compileMapping(file, await catalogOf(source), await catalogOf(target));
  if (result.mapping === undefined) throw new Error(told(result.findings).join('\n'));
  return result.mapping.tables[0]!;
}

function computed(table: TableMapping, row: Readonly<Record<string, Field>>): Record<string, Field> | RowRefusal {
  const { steps, compute } = rowFunction(table.steps!);
  const into: Field[] = [];
  const refusal = compute(
    steps.inputs.map((input) => row[input.name]),
    into,
  );
  return refusal ?? Object.fromEntries(steps.computed.map(({ target }, i) => [target, into[i]]));
}

describe('the row function', () => {
  test('tells absent, null and empty apart', async () => {
    const table = await tableOf(
      '{ xy: { from: [x, y], steps: [{ concat: "/" }] }, h: { from: z, steps: [{ hash: md5 }] }, k: { value: c } }',
    );
    expect(computed(table, { x: 'a', y: '1', z: null })).toEqual({ xy: 'a/1', h: null, k: 'c' });
    expect(computed(table, { x: 'a', y: '1', z: undefined })).toEqual({ xy: 'a/1', h: undefined, k: 'c' });
    expect(computed(table, { x: '', y: null, z: '' })).toEqual({ xy: '', h: 'd41d8cd98f00b204e9800998ecf8427e', k: 'c' });
  });

  test('refuses a change that leaves out one of several columns: another may have changed', async () => {
    const table = await tableOf('{ xy: { from: [x, y], steps: [concat] } }');
    const message = 'one of the columns it is made of is absent from a change: the table needs REPLICA IDENTITY FULL';
    expect(computed(table, { x: undefined, y: '1' })).toEqual({ code: 'CF-4002', column: 'xy', message });
  });

  test('refuses by column and step, and never shows the value', async () => {
    const table = await tableOf('{ xy: { from: x, steps: [trim, { map: { values: { a: b } } }] } }');
    expect(computed(table, { x: 'hunter2' })).toEqual({
      code: 'CF-4002',
      column: 'xy',
      message: 'step 2 (map): the value is none of the 1 that are listed',
    });
  });

  test('refuses what the target column would round without a word', async () => {
    const table = await tableOf('{ n: { from: x, steps: [trim] }, s: { from: z, steps: [trim] } }');
    expect(computed(table, { x: '1.50', z: '2024-01-01 00:00:00.123000' })).toEqual({ n: '1.50', s: '2024-01-01 00:00:00.123000' });
    expect(computed(table, { x: '1.55', z: null })).toMatchObject({
      column: 'n',
      message: expect.stringContaining('more than 1 digits') as string,
    });
    expect(computed(table, { x: '1', z: '2024-01-01 00:00:00.1234' })).toMatchObject({ column: 's' });
  });

  test('knows values of the file by the form that the type of the column gives them', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, x boolean, z char(3))';
    const set = `{ k: { from: x, steps: [{ map: { values: { true: yes, "false": no } } }] }, z: { from: z, steps: [{ nullIf: "-" }, { map: { values: { A: one }, else: keep } }] },
      h: { from: x, steps: [{ default: true }, { map: { values: { true: on, false: off } } }] }, xy: { from: z, steps: [trim, { nullIf: "-" }] } }`;
    const table = await tableOf(set, {}, source);
    expect(computed(table, { x: 't', z: 'A  ' })).toEqual({ k: 'yes', z: 'one', h: 'on', xy: 'A' });
    expect(computed(table, { x: 'f', z: '-  ' })).toEqual({ k: 'no', z: null, h: 'off', xy: null });
    expect(computed(table, { x: null, z: 'B  ' })).toEqual({ k: null, z: 'B  ', h: 'on', xy: 'B' });
    const wider = await tableOf(set, {}, source.replace('char(3)', 'char(4)'));
    expect(tableTag(wider)).not.toBe(tableTag(table));
  });

  test('refuses a zone that the column would drop or lend, and a time of day that a date would', async () => {
    const target = 'CREATE TABLE a (id int PRIMARY KEY, l timestamp, m timestamptz, d date)';
    const table = await tableOf(
      '{ l: { from: z, steps: [trim] }, m: { from: x, steps: [trim] }, d: { from: w, steps: [trim] } }',
      {},
      'CREATE TABLE a (id int PRIMARY KEY, z text, x text, w text)',
      target,
    );
    const [local, moment, day] = ['2024-01-31 10:00:00', '2024-01-31 10:00:00+00', '2024-01-31'];
    const of = (z: string, x: string, w: string): unknown => {
      const made = computed(table, { z, x, w });
      return 'message' in made ? made.column : 'taken';
    };
    for (const text of [local, day, '2024-01-31T10:00', '20240131', '0044-03-15 10:00:00 BC', 'Jan 31 10:00:00 2024', 'infinity']) {
      expect(of(text, moment, day), text).toBe('taken');
    }
    for (const text of [
      moment,
      '2024-01-31T10:00:00Z',
      '2024-01-31 10:00-05',
      '2024-01-31+02',
      'Wed Jan 31 10:00:00 2024 PST',
      '2024-01-31 10:00 Europe/Berlin',
    ]) {
      expect(of(text, moment, day), text).toBe('l');
      expect(of(local, text, day), text).toBe('taken');
    }
    for (const text of [local, day, '0044-03-15 10:00:00 BC']) expect(of(local, text, day), text).toBe('m');
    for (const text of [local, moment, '2024-01-31 00:00', '2024-01-31+02']) expect(of(local, moment, text), text).toBe('d');
    expect(of(local, 'infinity', '-infinity')).toBe('taken');
    expect(of('2024-01-31 10:00:00.1234567', moment, day)).toBe('l');
  });

  test('refuses half a character and a NUL, which would arrive as something else', async () => {
    const table = await tableOf(
      `{ k: { from: z, steps: [{ cel: 'row.z.split("")[0]' }] }, h: { from: x, steps: [{ split: { by: /, take: 1 } }] } }`,
    );
    const message = expect.stringContaining('no text that PostgreSQL can hold') as string;
    expect(computed(table, { z: 'a😀', x: '€/' })).toEqual({ k: 'a', h: '€' });
    expect(computed(table, { z: '😀a', x: null })).toEqual({ code: 'CF-4002', column: 'k', message });
    const nul = await tableOf(`{ k: { from: z, steps: [{ cel: 'row.z + "\\u0000"' }] } }`);
    expect(computed(nul, { z: 'a' })).toEqual({ code: 'CF-4002', column: 'k', message });
  });

  test('a change of any of it is another mapping, and nothing else is', async () => {
    const tags = await Promise.all(
      [
        '{ k: { value: a } }',
        '{ k: { value: b } }',
        '{ k: { from: x } }',
        '{ k: { from: z } }',
        '{ k: { from: x, steps: [trim] } }',
        '{ k: { from: x, steps: [{ map: { values: { a: b, c: d } } }] } }',
        '{ k: { from: x, steps: [{ map: { values: { a: b, c: e } } }] } }',
      ].map(async (set) => tableTag(await tableOf(set))),
    );
    expect(new Set(tags).size).toBe(tags.length);
    const keyed = (key: string): Promise<TableMapping> => tableOf('{ k: { from: x, steps: [{ hmac: { key: "${KEY}" } }] } }', { KEY: key });
    const [one, same, other] = await Promise.all([keyed('0123456789abcdef'), keyed('0123456789abcdef'), keyed('0123456789abcdeg')]);
    expect(tableTag(one)).toBe(tableTag(same));
    expect(tableTag(one)).not.toBe(tableTag(other));
    const order = await tableOf('{ k: { from: x, steps: [{ map: { values: { c: d, a: b } } }] } }');
    expect(tableTag(order)).toBe(tags[5]);
  });
});
