/** What one wave moves of the tables, there and back, and what keeps tables from moving in waves. */
import { describe, expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { waveFile } from '#schemas/config/wave-file.ts';
import { compileMapping, type MappingResult } from '#schemas/mapping/compile-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { shareSql } from '#schemas/mapping/share.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf } from '#test/support/compile.ts';

const SOURCE = `CREATE TABLE tenant (id int PRIMARY KEY); CREATE TABLE currency (code int PRIMARY KEY);
  CREATE TABLE orders (tenant_id int, id bigint, amount int, PRIMARY KEY (tenant_id, id));
  CREATE TABLE event (id uuid PRIMARY KEY, tenant_id int)`;
const TARGET = `CREATE TABLE tenant (id int PRIMARY KEY); CREATE TABLE currency (code int PRIMARY KEY);
  CREATE TABLE orders (account bigint, id bigint, amount int, PRIMARY KEY (account, id));
  CREATE TABLE event (id uuid PRIMARY KEY, tenant_id int)`;
const TABLES = `tables:
  - { from: public.*, exclude: [public.orders] }
  - { from: public.orders, columns: { tenant_id: { to: account, cast: bigint } } }
`;
const WAVES = 'waves: { by: tenant_id, columns: { public.tenant: id }, units: { a: [1, 2], rest: "*" }, shared: [public.currency] }';

interface Compiled extends MappingResult {
  readonly file: MigrationFile;
  readonly catalogs: { readonly source: Catalog; readonly target: Catalog };
}

async function compileWave(wave: string, { source = SOURCE, target = TARGET, waves = WAVES, tables = TABLES } = {}): Promise<Compiled> {
  const text = `crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\n${tables}${waves}\n`;
  const whole = readMigrationFile({ path: 'm.yaml', text, env: {} });
  if (whole.file === undefined) throw new Error(whole.findings.map(({ message }) => message).join());
  const file = waveFile(whole.file, wave);
  const catalogs = { source: await catalogOf(source), target: await catalogOf(target) };
  return { ...compileMapping(file, catalogs.source, catalogs.target), file, catalogs };
}

function rows({ mapping, findings }: MappingResult): Record<string, string | undefined> {
  expect(findings).toEqual([]);
  return Object.fromEntries(mapping!.tables.map((table) => [table.from.name, shareSql(table)]));
}

describe('rows', () => {
  test('of its units, by the column that each table has for them; what is shared is a wave of its own', async () => {
    expect(rows(await compileWave('a'))).toEqual({
      tenant: `("id" IS NOT NULL AND "id" IN ('1'::bigint, '2'::bigint))`,
      orders: `("account" IS NOT NULL AND "account" IN ('1'::bigint, '2'::bigint))`,
      event: `("tenant_id" IS NOT NULL AND "tenant_id" IN ('1'::bigint, '2'::bigint))`,
    });
    expect(rows(await compileWave('rest'))['event']).toBe(`("tenant_id" IS NULL OR "tenant_id" NOT IN ('1'::bigint, '2'::bigint))`);
    expect(rows(await compileWave('shared'))).toEqual({ currency: undefined });
  });

  test('on their way back are the same', async () => {
    const { file, mapping, catalogs } = await compileWave('a');
    const back = deriveReverse(file, mapping!, catalogs);
    expect(back.tables.map(({ kind }) => kind)).toEqual(['reversible', 'reversible', 'reversible']);
    const orders = back.mapping!.tables.find(({ from }) => from.name === 'orders')!;
    expect(orders.filter?.conditions).toMatchObject([{ column: 'account', op: 'in', values: ['1', '2'] }]);
    expect(shareSql(orders)).toBe(`("tenant_id" IS NOT NULL AND "tenant_id" IN ('1'::bigint, '2'::bigint))`);
  });
});

describe('refused', () => {
  test('a table without the column that is not shared, a key without the unit, a name that nothing has', async () => {
    const waves = 'waves: { by: tenant_id, columns: { public.tenent: id }, units: [a] }';
    const source = 'CREATE TABLE note (id bigserial PRIMARY KEY, tenant_id text); CREATE TABLE currency (code int PRIMARY KEY)';
    const { findings } = await compileWave('a', { source, target: source, waves, tables: 'tables: [{ from: public.* }]\n' });
    expect(findings.map(({ code, message }) => `${code} ${message}`)).toEqual([
      'CF-1008 public.currency has no column "tenant_id", by which the waves are told',
      'CF-4007 the key (id) of public.note of the source does not hold "tenant_id": while units are written in both stores, two of them may get one key',
      'CF-2008 public.note: it has a row filter, and "tenant_id" may be left out of an update (unchanged TOAST), so its replica identity must be FULL',
      'CF-1008 `waves` names public.tenent, which is no table that the file moves',
    ]);
  });

  test('not, where the file says that such keys never meet', async () => {
    const waves = 'waves: { by: tenant_id, units: [1], distinct: [public.note] }';
    const source = 'CREATE TABLE note (id bigserial PRIMARY KEY, tenant_id int)';
    const { findings } = await compileWave('1', { source, target: source, waves, tables: 'tables: [{ from: public.* }]\n' });
    expect(findings).toEqual([]);
  });

  test('two texts that are one value of the column: both waves would move its rows', async () => {
    const waves =
      'waves: { by: tenant_id, columns: { public.tenant: id }, units: { a: [7, 8], b: ["007"], c: [9, "09"] }, shared: [public.currency] }';
    const { findings } = await compileWave('a', { waves });
    expect(findings.map(({ code, message }) => `${code} ${message}`)).toEqual([
      'CF-1004 7 of wave a and 007 of wave b are one value of "tenant_id" of public.event',
      'CF-1004 7 of wave a and 007 of wave b are one value of "tenant_id" of public.orders',
      'CF-1004 7 of wave a and 007 of wave b are one value of "id" of public.tenant',
    ]);
  });

  test('a unit that does not arrive as it is', async () => {
    const tables = 'tables: [{ from: public.event, columns: { tenant_id: { cast: varchar } } }]\n';
    const waves = 'waves: { by: tenant_id, units: [1] }';
    const target = 'CREATE TABLE event (id uuid PRIMARY KEY, tenant_id varchar(3))';
    const { findings } = await compileWave('1', { target, waves, tables });
    expect(findings.map(({ message }) => message).join()).toContain('does not arrive on the target as it is');
  });
});
