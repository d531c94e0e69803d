/** docker-compose.yml and what lies in deploy/, as far as it can be known without an engine. compose-up.test.ts starts it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { FULL_SHOP, loadSql } from '#services/demo/shop/load.ts';
import { MIGRATION, ROOT } from './compose-project.ts';

/** Any seed: the volume is filled once. */
const SEED = 4;

interface MigrationText {
  readonly name: string;
  readonly tables: unknown;
}

function readYaml(path: string): MigrationText {
  return parse(readFileSync(path, 'utf8')) as MigrationText;
}

test('the source of docker-compose.yml holds the rows of the demo', async () => {
  const sql = [
    "-- The demo's rows, of services/demo/shop/load.ts; written anew by: npx vitest run test/scenario/kafka/compose.test.ts -u",
    "set timezone = 'Europe/Berlin';",
    `${loadSql(FULL_SHOP, SEED)};`,
    'vacuum analyze;\n',
  ].join('\n');
  await expect(sql).toMatchFileSnapshot(join(ROOT, 'deploy', 'compose', 'source', 'rows.sql'));
});

test('the migration of docker-compose.yml maps what the demo maps', () => {
  const demo = readYaml(join(ROOT, 'services', 'demo', 'shop', 'renamed.yaml'));
  expect(readYaml(MIGRATION).tables).toEqual(demo.tables);
  expect(readYaml(MIGRATION).name).toBe(demo.name);
});
