import { expect, test } from 'vitest';
import type pg from 'pg';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { rowsAt, rowsOf, sumsOf } from '#connectors/probe/postgres/computed-scan.ts';
import { REFUSED } from '#connectors/probe/postgres/row-image.ts';
import { newDigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { tableProbe, type Scan } from '#connectors/probe/postgres/table-scan.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { fileOf } from '#test/support/compile.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const PASSED = `id int, kind char(4), flag boolean, addr inet, r float4, PRIMARY KEY (kind, id)`;
const SOURCE = `CREATE TABLE t (v text, cents int, at timestamp, ${PASSED})`;
const TARGET = `CREATE TABLE t (amount numeric(12,2), v varchar(20), at timestamptz(3), doc jsonb, ${PASSED})`;
const TABLES = `  - from: public.t
    set:
      v: { from: v, steps: [trim, { map: { values: { bad: x }, else: keep } }, { nullIf: "" }] }
      amount: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
      at: { from: at, steps: [{ zone: { from: Europe/Berlin, ambiguous: later } }] }
      doc: { from: [id, flag, cents], steps: [object] }
`;
const PASS = `g, substr('ab', 1 + g % 2, 1), CASE g % 3 WHEN 0 THEN true WHEN 1 THEN false END, ('10.0.0.' || g % 250)::inet, g / 7.0`;
const FILL = `INSERT INTO t (v, cents, at, id, kind, flag, addr, r)
  SELECT CASE g % 5 WHEN 0 THEN '  ' WHEN 1 THEN ' "x", y ' ELSE 'v' || g END, CASE WHEN g % 4 > 0 THEN g * 3 END,
    timestamp '2024-05-01' + g * interval '1.25 hours', ${PASS} FROM generate_series(1, 5000) g`;
const EXPECTED = `INSERT INTO t (v, amount, at, doc, id, kind, flag, addr, r)
  SELECT nullif(CASE g % 5 WHEN 0 THEN '' WHEN 1 THEN '"x", y' ELSE 'v' || g END, ''), CASE WHEN g % 4 > 0 THEN g * 3 END / 100.0,
    (timestamp '2024-05-01' + g * interval '1.25 hours') AT TIME ZONE 'Europe/Berlin',
    jsonb_build_object('id', g, 'flag', CASE g % 3 WHEN 0 THEN true WHEN 1 THEN false END, 'cents', CASE WHEN g % 4 > 0 THEN g * 3 END), ${PASS}
  FROM generate_series(1, 5000) g`;

test.for([false, true])(
  'a source that is mapped by the shared function has the sums, listings and rows of a target that is its image (converted: %s)',
  async (converted) => {
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    const [here, there] = [await open(from.url, SOURCE, FILL), await open(to.url, TARGET, EXPECTED)];
    try {
      const { mapping, findings } = compileMapping(fileOf(TABLES), await readCatalog(here), await readCatalog(there));
      expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      const probe = tableProbe(mapping!.tables[0]!, () => true);
      const plan = newDigestPlan({ converted });
      const mask = 63n;
      const scanOf = async (client: pg.Client, side: Scan['side']): Promise<Scan> => {
        const [shape] = await readShapes(client, [{ schema: 'public', name: 't' }]);
        return { client, side, probe, plan, shape: shape!, renew: () => Promise.resolve() };
      };
      const source = await scanOf(here, 'source');
      const target = await scanOf(there, 'target');
      await here.query('BEGIN');
      await there.query('BEGIN');
      const sums = await sumsOf(target, mask);
      expect(await sumsOf(source, mask)).toEqual(sums);
      const listed = await Array.fromAsync(rowsOf(source, { mask, names: ['7'] }));
      const wanted = await Array.fromAsync(rowsOf(target, { mask, names: ['7'] }));
      expect(listed.length).toBeGreaterThan(20);
      expect(listed.map(({ hash, a, b, key }) => [hash, a, b, key])).toEqual(wanted.map(({ hash, a, b, key }) => [hash, a, b, key]));
      const keys = [['a   ', '12']];
      const [one, other] = [[...(await rowsAt(source, keys)).values()], [...(await rowsAt(target, keys)).values()]];
      expect(one.map(({ texts, sum }) => ({ texts, sum }))).toEqual(other.map(({ texts, sum }) => ({ texts, sum })));

      // Without an image a row is equal to none, not even to one that is null where the image would be.
      await here.query(`UPDATE public.t SET at = '2024-03-31 02:30' WHERE kind = 'a' AND id = 12`);
      await there.query(`UPDATE public.t SET v = NULL, amount = NULL, at = NULL, doc = NULL WHERE kind = 'a' AND id = 12`);
      const [refused] = [...(await rowsAt(source, keys)).values()];
      const [empty] = [...(await rowsAt(target, keys)).values()];
      expect(refused!.texts.filter((text) => text === REFUSED)).toHaveLength(4);
      expect(refused!.sum).not.toEqual(empty!.sum);
    } finally {
      await here.end();
      await there.end();
    }
  },
);

async function open(url: string, ...statements: readonly string[]): Promise<pg.Client> {
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  await client.query('SET search_path = public');
  for (const statement of statements) await client.query(statement);
  await client.query('SET search_path = pg_catalog');
  return client;
}
