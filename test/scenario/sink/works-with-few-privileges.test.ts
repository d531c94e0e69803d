import { expect, test } from 'vitest';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness } from '#test/support/sink-harness.ts';

test('a role with DML and TRUNCATE that owns the schema crossfade keeps foreign keys satisfied at every commit', async () => {
  await using database = await freshDatabase(14);
  const role = `mover_${database.name}`;
  const sinkUrl = database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`);
  await using harness = await sinkHarness({
    url: database.url,
    sinkUrl,
    ddl: `CREATE TABLE parent (id int PRIMARY KEY, n int);
      CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent, n int)`,
    targetDdl: `CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
  });
  const [parent, child] = [harness.table('parent'), harness.table('child')];
  await harness.follow(parent, child);
  harness.start();
  await harness.log.transaction(child.relation, parent.relation, parent.insert(1, 0), child.insert(1, 1, 0));
  await harness.applied();
  // In one round: a child moves to a new parent, the old parent goes; a parent and its child go.
  await harness.log.transactions([
    [parent.insert(2, 0), child.update(1, 2, 0)],
    [parent.delete(1, null)],
    [parent.insert(3, 0), child.insert(3, 3, 0), child.insert(4, 3, 0)],
    [child.delete(3, null, null), child.delete(4, null, null), parent.delete(3, null)],
  ]);
  await harness.applied();
  expect(await harness.rows('SELECT id FROM new.parent')).toEqual([['2']]);
  expect(await harness.rows('SELECT id, parent_id FROM new.child')).toEqual([['1', '2']]);
  expect(harness.held).toEqual([]);
  await harness.log.transaction(child.delete(1, null, null), parent.truncate());
  await harness.applied();
  expect(await harness.rows('SELECT id FROM new.parent')).toEqual([]);
  await harness.rows(`DROP OWNED BY ${role} CASCADE`);
  await harness.stop().catch(() => undefined);
});
