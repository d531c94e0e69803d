import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Relation } from '#schemas/pgoutput/message.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { mappedShape, rawShape, rawTopic } from '#schemas/wire/shape.ts';
import { column } from '#test/support/raw-events.ts';

const mood = { ...column('mood', 'text'), typeOid: 20_000, typtype: 'e' };
const columns = [column('id', 'int4'), column('name', 'text'), mood];

const table: CatalogTable = {
  oid: 1,
  schema: 'pub lic',
  name: 'item',
  kind: 'p',
  columns,
  primaryKey: { indexName: 'item_pkey', columns: ['id'] },
  uniqueKeys: [],
  replicaIdentity: 'f',
  foreignKeys: [],
  triggers: [],
  unlogged: false,
  rowEstimate: 0,
  bytes: 0,
  relfilenode: 1,
  rowSecurity: false,
  leaves: [],
};

const leaf: Relation = {
  oid: 2,
  schema: 'pub lic',
  name: 'item_1',
  replicaIdentity: 'f',
  columns: [
    { name: 'mood', isKey: true, typeOid: 20_000, typmod: -1 },
    { name: 'name', isKey: true, typeOid: 1043, typmod: 24 },
    { name: 'id', isKey: true, typeOid: 23, typmod: -1 },
    { name: 'new', isKey: true, typeOid: 16, typmod: -1 },
  ],
};

const types = [
  { oid: 20_000, schema: 'app', name: 'mood', kind: 'e', labels: ['sad', 'ok'], attributes: [], notNull: false, checks: [] },
] as const;
const options = { name: 'shop', database: 'd', relation: leaf, types };

test("a leaf's rows go to the root's topic, in the leaf's order, under the root's key", () => {
  const shape = rawShape(table, options);
  expect(shape).toMatchObject({ topic: 'shop.pub_lic.item', database: 'd', schema: 'pub lic', table: 'item' });
  expect(shape.columns.map(({ name, isKey }) => [name, isKey])).toEqual([['mood', false], ['name', false], ['id', true], ['new', false]]); // prettier-ignore
  expect(shape.columns[0]).toMatchObject({ labels: ['sad', 'ok'], catalog: mood });
  // The stream has another type than the catalogue: what it knows of the old one says nothing.
  expect(shape.columns[1]).toEqual({ name: 'name', typeOid: 1043, typmod: 24, isKey: false, isNullable: true });
});

test('a mapped shape has the mapping’s columns, named and keyed as on the target', () => {
  const [id, name] = columns as [(typeof columns)[0], (typeof columns)[0]];
  const target = { targetType: 'text', targetBaseType: 'text' };
  const mapping: TableMapping = {
    from: table,
    to: { schema: 'new', name: 'Ding' },
    columns: [
      { target: 'title', source: name, ...target },
      { target: 'key', source: id, ...target },
    ],
    sourceKey: ['id'],
    targetKey: ['key'],
    overridesIdentity: false,
    existing: 'refuse',
    dropped: ['mood'],
  };
  const shape = mappedShape(mapping, options);
  expect(shape).toMatchObject({ topic: 'shop.mapped.new.Ding', schema: 'new', table: 'Ding' });
  expect(shape.columns.map(({ name: one, isKey, typeOid }) => [one, isKey, typeOid])).toEqual([['title', false, 1043], ['key', true, 23]]); // prettier-ignore
});

test('topics have only characters that Kafka allows', () => {
  expect(rawTopic('my-shop', { schema: 'ünï', name: 'a b/c.d' })).toBe('my-shop._n_.a_b_c.d');
});
