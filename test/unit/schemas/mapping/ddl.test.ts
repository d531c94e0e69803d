import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { draftMissingTables } from '#schemas/mapping/ddl.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { freshDatabase } from '#test/support/postgres.ts';

/** Runs the draft on an empty target, then compiles the mapping against it. */
async function runDraft(file: MigrationFile, source: Catalog): Promise<{ sql: string; findings: readonly Finding[]; target: Catalog }> {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'target' });
  const { sql } = draftMissingTables(file, source, await readCatalog(client));
  await client.query(sql);
  const target = await readCatalog(client);
  await client.end();
  return { sql, findings: compileMapping(file, source, target).findings, target };
}

const LEGACY = `
CREATE SCHEMA "Ext x"; CREATE EXTENSION hstore SCHEMA "Ext x";
CREATE TYPE mood AS ENUM ('ok', 'it''s bad'); CREATE TYPE inner_pair AS (a int, m mood[]); CREATE TYPE pair AS (a inner_pair, "B c" numeric(5,2));
CREATE DOMAIN dom AS varchar(5) DEFAULT 'x' CHECK (VALUE <> ''); CREATE TYPE span AS RANGE (SUBTYPE = float8);
CREATE TYPE wordrange AS RANGE (SUBTYPE = text, COLLATION = "C"); CREATE DOMAIN word AS text COLLATE "C";
CREATE FUNCTION own() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE parent (id serial PRIMARY KEY, code text COLLATE "C" NOT NULL UNIQUE, maybe text UNIQUE, CHECK (id > 0));
CREATE TABLE "Odd ""child" (x int, y bigint GENERATED ALWAYS AS IDENTITY, "from" int REFERENCES parent ON DELETE CASCADE, m mood DEFAULT 'ok', p pair, d dom, s span,
  h "Ext x".hstore, w wordmultirange, v word, n numeric(12,2)[] DEFAULT '{1.5}', at timestamp DEFAULT now(), o int DEFAULT own(), g int GENERATED ALWAYS AS (x + 1) STORED,
  PRIMARY KEY (y, x), UNIQUE (y, "from"));
CREATE TABLE part (id int PRIMARY KEY, at date) PARTITION BY RANGE (id);
`;

describe('the draft of missing tables', () => {
  test('runs on an empty server and fits the file then', async () => {
    const { sql, findings, target } = await runDraft(fileOf('  - from: public.*\n'), await catalogOf(LEGACY));
    expect(findings).toEqual([]);
    expect(target.tables.map((table) => table.name)).toEqual(['Odd "child', 'parent', 'part']);
    expect(sql).toContain('-- public.Odd "child: "o" has DEFAULT public.own() on the source'.replace('Odd "child', '"Odd ""child"'));
    expect(sql).toContain('-- public.part: partitioned on the source: PARTITION BY RANGE (id)');
    expect(target.tables[0]?.foreignKeys[0]?.definition).toContain('ON DELETE CASCADE');
    expect(target.tables[0]?.columns.find((column) => column.name === 'g')?.generated).toBe('s');
    expect(target.tables[1]?.checks).toHaveLength(1);
    expect(target.types.filter((type) => type.collation === 'pg_catalog."C"').map((type) => type.name)).toEqual(['wordrange', 'word']);
  });

  test('has the names, types and columns that the file gives', async () => {
    const tables = `  - { from: public.parent, to: new.elders, columns: { id: key, code: { to: sign, cast: varchar } }, drop: [maybe] }
  - from: 'public."Odd ""child"'
    to: new.child
    columns: { from: { to: elder }, at: { zone: Europe/Berlin } }
    drop: [g]
`;
    const { sql, findings, target } = await runDraft(fileOf(tables), await catalogOf(LEGACY));
    expect(findings).toEqual([]);
    expect(sql).toContain('CREATE SCHEMA IF NOT EXISTS "new";');
    expect(sql).toContain('-- new.elders: check "parent_id_check" is not carried over');
    expect(target.tables.find((table) => table.name === 'elders')?.columns.map((column) => [column.name, column.type])).toEqual([
      ['key', 'integer'],
      ['sign', 'character varying'],
    ]);
    expect(target.tables.find((table) => table.name === 'child')?.foreignKeys[0]).toMatchObject({
      columns: ['elder'],
      toTable: 'elders',
      toColumns: ['key'],
    });
  });

  test('is empty when no table is missing, and never holds a cast that is no type', async () => {
    const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, t text)');
    expect(draftMissingTables(fileOf('  - from: public.*\n'), source, source)).toEqual({ sql: '', tables: [] });
    const file = fileOf('  - { from: public.a, columns: { t: { cast: "int); DROP TABLE x; --" } } }\n');
    expect(draftMissingTables(file, source, await catalogOf('SELECT 1')).sql).not.toContain('DROP TABLE');
  });

  test.each([
    ['{ column: deleted, at: deleted_at }', '"deleted" boolean NOT NULL DEFAULT false,\n  "deleted_at" timestamp with time zone,'],
    [`{ column: state, value: gone, alive: "it's there" }`, `"state" text NOT NULL DEFAULT 'it''s there',`],
    ['{ column: state, value: gone }', '"state" text,'],
  ])('has the columns that tell deleted rows: %s', async (soft, lines) => {
    const file = fileOf(`  - from: public.a\n    deletes: { soft: ${soft} }\n`);
    const { sql, findings } = await runDraft(file, await catalogOf('CREATE TABLE a (id int PRIMARY KEY)'));
    expect(sql).toContain(lines);
    expect(findings).toEqual([]);
  });

  const pagila = '../shared/data/pagila.sql';
  test.skipIf(!existsSync(pagila))('brings Pagila over', async () => {
    const text = readFileSync(pagila, 'utf8').replaceAll(/^COPY [^;]*FROM stdin;\n[\s\S]*?^\\\.$/gm, '');
    const schema = text
      .split('\n')
      .filter((line) => !/^(SELECT pg_catalog\.set|SET |.*OWNER TO|\\)/.test(line))
      .join('\n');
    const { findings, target } = await runDraft(
      fileOf('  - from: public.*\n'),
      await catalogOf(`SET LOCAL check_function_bodies = off; ${schema}`, 14),
    );
    expect(findings).toEqual([]);
    expect(target.tables.map((table) => table.name)).toContain('payment');
  });
});
