import { expect, test } from 'vitest';
import { cataloguePath, changedTables, parseCatalogues, renderCatalogues, type Catalogues } from '#schemas/config/catalogue-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

const TYPES = `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN mail AS varchar(80)`;
const TABLE = 'CREATE TABLE a (id serial PRIMARY KEY, m mood, ms mood[], e mail, n numeric(8,2) DEFAULT 1)';
const OTHERS = `CREATE TYPE other AS (x int); CREATE TABLE unrelated (o other)`;

async function both(before: string, after = ''): Promise<Catalogues> {
  return { source: await catalogOf(`${before}; ${TYPES}; ${TABLE}; ${after}`), target: await catalogOf(`${TYPES}; ${TABLE}`) };
}

const file = fileOf('  - from: public.a\n');

test('the same tables give the same text, whatever else the server holds and however its types are numbered', async () => {
  const text = renderCatalogues(file, await both('SELECT'));
  expect(renderCatalogues(file, await both(OTHERS, 'INSERT INTO a (n) SELECT 2 FROM generate_series(1, 5000); ANALYZE a'))).toBe(text);
  expect(text.split('\n').filter((line) => line.includes('"name":"ms"'))).toHaveLength(2);
});

test('the mapping compiled from it is the one compiled from the servers', async () => {
  const live = await both(OTHERS);
  const kept = parseCatalogues(renderCatalogues(file, live), 'k');
  const fromServers = compileMapping(file, live.source, live.target!);
  const fromFile = compileMapping(file, kept.source, kept.target!);
  expect(fromFile.findings).toEqual(fromServers.findings);
  expect(fromFile.mapping?.hash).toBe(fromServers.mapping?.hash);
  expect(fromFile.mapping).toBeDefined();
});

test('what has changed is told by table and side', async () => {
  const [before, after] = [await both('SELECT'), await both('SELECT', 'ALTER TABLE a ADD COLUMN more text')];
  const [kept, now] = [before, after].map((one) => parseCatalogues(renderCatalogues(file, one), 'k')) as [Catalogues, Catalogues];
  expect(changedTables(kept, now)).toEqual(['public.a (source)']);
  expect(changedTables(kept, kept)).toEqual([]);
});

test.for(['', '{}', '{"crossfade": 2}', 'no json', '{"crossfade": 1, "source": {"tables": [{}]}}'])('%j is refused: CF-1010', (text) => {
  expect(() => parseCatalogues(text, 'x.catalogue.json')).toThrow(expect.objectContaining({ code: 'CF-1010' }));
});

test('it stands beside the file', () => {
  expect(['migration.yaml', 'db/m.yml', 'odd'].map((name) => cataloguePath(name))).toEqual([
    'migration.catalogue.json',
    'db/m.catalogue.json',
    'odd.catalogue.json',
  ]);
});
