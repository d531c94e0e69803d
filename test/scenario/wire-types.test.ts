import { describe, expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { rawShape } from '#schemas/wire/shape.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import { keyKinds } from '#test/prove/types/key-kinds.ts';
import { insertKeyed, insertWide, makeZoo } from '#test/prove/types/zoo.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { memoryRegistry } from '#test/support/raw-events.ts';
import { thereAndBack } from '#test/support/wire-rows.ts';

const WIDE_ROWS = 60;
const KEYED_ROWS = 20;
const BATCH = 10;

const formats: readonly { readonly wire: string; readonly make: () => WireFormat }[] = [
  { wire: 'avro', make: () => avroFormat(memoryRegistry(), { name: 'zoo' }) },
  { wire: 'json', make: () => jsonFormat({ name: 'zoo' }) },
];

describe.each([14, 18] as const)('every type of PostgreSQL %i', (version) => {
  test('comes through the wire byte for byte, in rows and in keys', async () => {
    const seed = seedFromEnvironment();
    const random = seeded(seed);
    await using database = await freshDatabase(version);
    const zoo = makeZoo(version, keyKinds(version));
    await execute(database.url, zoo.ddl);
    let id = 1;
    for (const table of zoo.wide) {
      for (let rows = 0; rows < WIDE_ROWS; rows += BATCH) {
        const ids = Array.from({ length: BATCH }, () => id++);
        await execute(database.url, insertWide(random, table, ids));
      }
    }
    for (const table of zoo.keyed) await execute(database.url, insertKeyed(random, table, KEYED_ROWS));
    const client = await connect(database.url, { applicationName: 'crossfade wire test', role: 'source' });
    try {
      const catalog = await readCatalog(client);
      const made = formats.map(({ wire, make }) => ({ wire, format: make() }));
      let values = 0;
      for (const table of catalog.tables) {
        const shape = rawShape(table, { name: 'zoo', database: catalog.database, relation: relationOf(table), types: catalog.types });
        const rows = await client.query<(string | null)[]>({ text: `TABLE ${name(table)}`, rowMode: 'array' });
        const key = shape.columns.flatMap((column, i) => (column.isKey ? [i] : []));
        for (const { wire, format } of made) {
          const encoder = await format.encoder(shape);
          for (const row of rows.rows) {
            const back = await thereAndBack(format, encoder, { before: row, after: row });
            const where = `seed ${seed}, ${wire}, ${name(table)}`;
            expect(back.after, where).toEqual(row);
            expect(back.before, where).toEqual(row);
            expect(back.key, where).toEqual(key.length === 0 ? undefined : key.map((i) => row[i]));
            values += row.length;
          }
        }
      }
      expect(values).toBeGreaterThan(10_000);
    } finally {
      await client.end();
    }
  });
});

function name({ schema, name: table }: CatalogTable): string {
  return `"${schema}"."${table}"`;
}

/** As the walsender describes it. */
function relationOf(table: CatalogTable): Relation {
  const columns = table.columns.map((column) => ({ name: column.name, isKey: false, typeOid: column.typeOid, typmod: column.typmod }));
  return { oid: table.oid, schema: table.schema, name: table.name, replicaIdentity: 'd', columns };
}
