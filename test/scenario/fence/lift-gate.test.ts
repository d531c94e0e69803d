/** What would hold up the end of a fence behind the decision is seen before it. */
import { describe, expect, test } from 'vitest';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { liftGate } from '#services/control/gates/lift-gate.ts';
import { SideSessions } from '#services/control/postgres/sessions.ts';
import { fenceWorld, pidOf, raiseFence } from '#test/support/fence-world.ts';

describe.each([14, 18] as const)('on PostgreSQL %i', (version) => {
  test('somebody who vacuums, indexes or alters a fenced table closes the gate; readers and short writers do not', async () => {
    await using world = await fenceWorld(version);
    await using sessions = new SideSessions({ source: world.url, target: world.url }, 'shop');
    const gate = liftGate({ migration: { name: 'shop' }, sessions });
    const look = async () => gate.look({ kind: 'rollback', drill: false, phase: 'begin' });
    const other = await world.session();
    await other.query(`SET application_name = 'nightly'; SET crossfade.pipeline = 'shop'; BEGIN`);
    await other.query('LOCK TABLE ONLY shop.bill_b1 IN SHARE UPDATE EXCLUSIVE MODE');
    expect(await look()).toEqual({ evidence: 'the source has no fence to be lifted' });
    // Which get names: they are locked though nothing was ever fenced.
    const side = { others: [{ schema: 'shop', name: 'bill' }], standing: [], next: [] };
    const swapping = liftGate({ migration: { name: 'shop', swap: { source: { ...side, others: [] }, target: side } }, sessions });
    expect(await swapping.look({ kind: 'rollback', drill: false, phase: 'begin' })).toMatchObject({ closed: { code: 'CF-8334' } });
    await other.query('COMMIT');

    await raiseFence(world.options, 1n);
    await other.query('BEGIN');
    await other.query('SELECT count(*) FROM shop.bill');
    await other.query('INSERT INTO shop.bill (day) VALUES (12)');
    expect(await look()).toEqual({ evidence: 'nothing on the source holds up the end of its fence' });
    // As VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY lock it.
    await other.query('LOCK TABLE ONLY shop.bill_b1 IN SHARE UPDATE EXCLUSIVE MODE');
    expect(await look()).toMatchObject({
      closed: { code: 'CF-8334' },
      evidence: expect.stringMatching(
        new RegExp(
          `^on the source: pid ${pidOf(other.client)} \\(nightly, role .*\\) has ShareUpdateExclusiveLock on shop.bill_b1 for \\d+ s$`,
        ),
      ) as string,
    });
    await other.query('ROLLBACK');
    expect(await look()).not.toHaveProperty('closed');
    // A prepared transaction has no session that would end, and a restart keeps its locks.
    await other.query(`BEGIN; LOCK TABLE shop.customer IN SHARE MODE; PREPARE TRANSACTION 'nightly-7'`);
    expect(await look()).toMatchObject({
      closed: { code: 'CF-8334' },
      evidence: expect.stringMatching(
        /^on the source: prepared transaction nightly-7 \(role .*\) has ShareLock on shop.customer for \d+ s$/,
      ) as string,
    });
    await other.query(`ROLLBACK PREPARED 'nightly-7'`);
    expect(await look()).not.toHaveProperty('closed');
    expect(await postgresFences.lift(world.options, 1n)).toBe(true);
  });
});
