/** A restart during the copy decodes from the table furthest behind; tables that were ahead must not be put back, or a crash doubles their changes. */
import { expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { LaneKeeper, readTableProgress } from '#connectors/target/postgres/progress.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { Wire } from '#connectors/target/postgres/wire.ts';
import type { Round } from '#connectors/target/target.ts';
import { toLsn } from '#schemas/lsn.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('a lane that decodes again what one of its tables has applied leaves that table’s position where it was', async () => {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'target' });
  try {
    await ensureSchema(client);
    await client.query(
      `INSERT INTO crossfade.progress (name, epoch, mode, mapping_hash, instance, backends) VALUES ('m', 1, 'parallel', 'h', 'i', '{}')`,
    );
    await client.query(
      `INSERT INTO crossfade.table_progress (name, source_schema, source_table, target_schema, target_table, state, log_offset, lsn)
       VALUES ('m', 'public', 'ahead', 'public', 'ahead', 'following', 100, '0/64'), ('m', 'public', 'behind', 'public', 'behind', 'copying', 50, '0/32')`,
    );
    const tables = ['ahead', 'behind'].map(
      (name) => ({ from: { schema: 'public', name }, to: { schema: 'public', name } }) as TableMapping,
    );
    const wire = new Wire(client);
    wire.start();
    const round: Round = {
      work: [],
      places: [],
      commit: undefined,
      markers: [],
      states: [],
      source: undefined,
      grain: 'transactions',
      counts: [],
    };
    new LaneKeeper('m', 1n, tables).advance(wire, round, { offset: 60, lsn: toLsn(60n), commitTimeMs: 0 });
    await wire.sync();
    const rows = await readTableProgress(client, 'm');
    expect(rows.map(({ from, logOffset, lsn }) => [from.name, logOffset, lsn])).toEqual([
      ['ahead', 100, 100n],
      ['behind', 60, 60n],
    ]);
  } finally {
    await client.end();
  }
});
