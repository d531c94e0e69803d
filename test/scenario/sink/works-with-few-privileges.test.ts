import { expect, test } from 'vitest';
import { plainRole } from '#test/support/plain-role.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { sinkHarness, type SinkHarness } from '#test/support/sink-harness.ts';

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

type Row = (string | null)[];

/** Parents and their children, changed at random the way a server with the foreign key and the unique code would let it. */
class Family {
  readonly parents = new Map<string, Row>();
  readonly children = new Map<string, Row>();
  readonly #harness: SinkHarness;
  #state: number;

  constructor(harness: SinkHarness, seed: number) {
    this.#harness = harness;
    this.#state = seed * 2_654_435_761;
  }

  random(below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * below);
  }

  change(): Buffer | undefined {
    return this.random(2) === 0 ? this.#changeParent() : this.#changeChild();
  }

  #changeParent(): Buffer | undefined {
    const parent = this.#harness.table('parent');
    const id = String(this.random(12));
    const code = `c${this.random(16)}`;
    const old = this.parents.get(id);
    const free = [...this.parents.values()].every((row) => row[1] !== code);
    if (old === undefined) {
      if (!free) return undefined;
      this.parents.set(id, [id, code]);
      return parent.insert(id, code);
    }
    const childless = [...this.children.values()].every((row) => row[1] !== id);
    if (childless && this.random(2) === 0) {
      this.parents.delete(id);
      return parent.delete(id, null);
    }
    const moved = String(this.random(12));
    if (childless && !this.parents.has(moved)) {
      this.parents.delete(id);
      this.parents.set(moved, [moved, old[1]!]);
      return parent.updateFrom([id, null], [moved, undefined]);
    }
    if (!free) return undefined;
    this.parents.set(id, [id, code]);
    return parent.update(id, code);
  }

  #changeChild(): Buffer | undefined {
    const child = this.#harness.table('child');
    const id = String(this.random(30));
    const ids = [...this.parents.keys()];
    const of = ids[this.random(ids.length + 1)];
    const old = this.children.get(id);
    if (old !== undefined && (of === undefined || this.random(3) === 0)) {
      this.children.delete(id);
      return child.delete(id, null, null);
    }
    if (of === undefined) return undefined;
    const row: Row = [id, of, String(this.random(100))];
    this.children.set(id, row);
    return old === undefined ? child.insert(...row) : child.update(...row);
  }
}

test.each([1, 2, 3, 4])('random changes of referring tables never break a foreign key nor hold a table (seed %i)', async (seed) => {
  await using database = await freshDatabase(seed % 2 === 0 ? 14 : 18);
  const role = `clerk_${database.name}_${seed}`;
  await using harness = await sinkHarness({
    url: database.url,
    sinkUrl: database.url.replace(/\/\/[^@/]*@/, `//${role}:secret@`),
    ddl: `CREATE TABLE parent (id int PRIMARY KEY, code text UNIQUE); CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent, n int)`,
    targetDdl: `CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
  });
  const tables = [harness.table('parent'), harness.table('child')];
  await harness.follow(...tables);
  const family = new Family(harness, seed);
  harness.start();
  await harness.log.transaction(...tables.map((table) => table.relation));
  for (let i = 0; i < 60; i++) {
    const many = Array.from({ length: 1 + family.random(5) }, () =>
      Array.from({ length: 1 + family.random(12) }, () => family.change()).filter((frame) => frame !== undefined),
    );
    const filled = many.filter((frames) => frames.length > 0);
    if (filled.length > 0) await harness.log.transactions(filled);
  }
  await harness.applied();
  expect(harness.held).toEqual([]);
  expect(harness.missing).toEqual([]);
  const byId = (a: Row, b: Row): number => Number(a[0]) - Number(b[0]);
  expect(await harness.rows('SELECT * FROM new.parent ORDER BY id')).toEqual([...family.parents.values()].toSorted(byId));
  expect(await harness.rows('SELECT * FROM new.child ORDER BY id')).toEqual([...family.children.values()].toSorted(byId));
  await harness.stop();
  await harness.rows(`DROP OWNED BY ${role} CASCADE`);
  await harness.rows(`DROP ROLE ${role}`);
});

test('where foreign keys are checked, keys that change one after another each take their own large values along', async () => {
  await using database = await freshDatabase();
  const role = plainRole(database);
  await using harness = await sinkHarness({
    url: database.url,
    sinkUrl: role.sinkUrl,
    ddl: 'CREATE TABLE parent (id int PRIMARY KEY, name text, notes text); CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)',
    targetDdl: role.ddl,
  });
  const [parent, child] = [harness.table('parent'), harness.table('child')];
  await harness.follow(parent, child);
  harness.start();
  await harness.log.transaction(parent.relation, parent.insert(1, 'one', 'large 1'), parent.insert(2, 'two', 'large 2'));
  await harness.applied();
  await harness.log.transaction(
    parent.updateFrom([2, null, null], [3, undefined, undefined]),
    parent.updateFrom([1, null, null], [2, 'uno', undefined]),
  );
  await harness.applied();
  expect(await harness.rows('SELECT * FROM new.parent ORDER BY id')).toEqual([
    ['2', 'uno', 'large 1'],
    ['3', 'two', 'large 2'],
  ]);
});

test.each([0, 60])(
  'where foreign keys are checked, a softly deleted row gives its unique value up first (beside %i more rows)',
  async (more) => {
    await using database = await freshDatabase();
    const role = plainRole(database);
    await using harness = await sinkHarness({
      url: database.url,
      sinkUrl: role.sinkUrl,
      ddl: 'CREATE TABLE parent (id int PRIMARY KEY, code text, notes text); CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)',
      targetDdl: `ALTER TABLE new.parent ADD gone boolean; ALTER TABLE new.child ADD gone boolean;
      CREATE UNIQUE INDEX ON new.parent (code) WHERE gone IS DISTINCT FROM true; ${role.ddl}`,
      deletes: { mode: 'soft', flag: { column: 'gone', value: 'true' }, line: 1, column: 1 },
    });
    const [parent, child] = [harness.table('parent'), harness.table('child')];
    await harness.follow(parent, child);
    harness.start();
    await harness.log.transaction(
      parent.relation,
      child.relation,
      parent.insert(1, 'a', 'large'),
      parent.insert(2, 'b', null),
      parent.insert(3, 'c', null),
    );
    await harness.applied();
    let next = 10;
    const others = (): Buffer[] => Array.from({ length: more }, () => parent.insert(next++, null, null));
    await harness.log.transaction(parent.updateFrom([1, null, null], [5, 'a', undefined]), ...others());
    await harness.log.transaction(parent.updateFrom([2, null, null], [6, 'b', 'x']), ...others());
    await harness.log.transaction(parent.delete(3, null, null), parent.insert(7, 'c', 'y'), ...others());
    await harness.applied();
    expect([harness.held, harness.missing]).toEqual([[], []]);
    expect(await harness.rows('SELECT id, code, notes, gone FROM new.parent WHERE id < 10 ORDER BY id')).toEqual([
      ['1', 'a', 'large', 't'],
      ['2', 'b', null, 't'],
      ['3', 'c', null, 't'],
      ['5', 'a', 'large', 'f'],
      ['6', 'b', 'x', 'f'],
      ['7', 'c', 'y', 'f'],
    ]);
  },
);
