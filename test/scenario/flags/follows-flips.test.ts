/** A running instance, its flags over OFREP with the published provider, by the command and in the client, while the state row flips. */
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { type Client, OpenFeature } from '@openfeature/server-sdk';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { verifyAudit } from '#connectors/target/postgres/audit.ts';
import { type CrossfadeClient, createCrossfadeClient } from '#services/client/client.ts';
import { execute } from '#test/support/application.ts';
import { CUT_OVER, type FlaggedInstance, keptFlags, ROLL_BACK, startFlagged } from '#test/support/flagged-instance.ts';

const SOON = { timeout: 30_000, interval: 10 };
/** The quickest of several: how long one takes on a machine that does much else is no matter of the product's. */
const FLIP_MS = 1_000;

let stage: FlaggedInstance;
let sdk: Client;
let client: CrossfadeClient;

beforeAll(async () => {
  stage = await startFlagged();
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: stage.url, headers: [['Authorization', `Bearer ${stage.token}`]] }));
  sdk = OpenFeature.getClient();
  client = createCrossfadeClient({ name: 'scenario', url: stage.url, token: stage.token });
  await client.ready();
});

afterAll(async () => {
  await OpenFeature.close();
  await client.close();
  await stage[Symbol.asyncDispose]();
});

/** Milliseconds until `look` says `value`. */
async function until(look: () => Promise<string> | string, value: string): Promise<number> {
  const beganMs = performance.now();
  await vi.waitFor(async () => expect(await look()).toBe(value), SOON);
  return performance.now() - beganMs;
}

test('at the beginning everything is at the source', async () => {
  expect(await sdk.getStringDetails('scenario.reads', 'default', { targetingKey: 'acme' })).toMatchObject({
    value: 'source',
    reason: 'STATIC',
    variant: 'source',
    flagMetadata: { epoch: 0, rule: 'with-writes', write_to: 'source' },
  });
  expect(await sdk.getStringValue('scenario.writes', 'default')).toBe('source');
  expect(await sdk.getStringDetails('scenario.other', 'default')).toMatchObject({ value: 'default', errorCode: 'FLAG_NOT_FOUND' });
  expect([client.readFrom({ unit: 'acme' }), client.writeTo()]).toEqual(['source', 'source']);
});

test('a change by the command reaches SDK and client within a second, and is in the audit trail', async () => {
  const took: number[] = [];
  for (const [reads, side] of [
    ['100%', 'target'],
    ['0%', 'source'],
    ['100%', 'target'],
  ] as const) {
    await stage.flags('set', '--reads', reads, '--reason', 'rehearsal', '--by', 'ada');
    const [bySdk, byClient] = await Promise.all([
      until(async () => sdk.getStringValue('scenario.reads', 'default', { targetingKey: 'acme' }), side),
      until(() => client.readFrom({ unit: 'acme' }), side),
    ]);
    took.push(Math.max(bySdk, byClient));
  }
  expect(Math.min(...took)).toBeLessThan(FLIP_MS);
  const [record] = await execute(
    stage.target,
    `SELECT actor, details FROM crossfade.audit WHERE event = 'flags-set' ORDER BY seq DESC LIMIT 1`,
  );
  expect(record!['actor']).toBe('ada');
  expect(JSON.parse(record!['details']!)).toEqual({
    change: { kind: 'reads', reads: { targetPercent: 100 } },
    reason: 'rehearsal',
    version: 3,
  });
  expect(await verifyAudit(stage.target, 'scenario')).toMatchObject({ ok: true });
});

test('rules by tenant and table, and the kill switch', async () => {
  await stage.flags('set', '--reads', 'shadow');
  await stage.flags('set', '--reads', 'source', '--tenant', 'late');
  await stage.flags('set', '--reads', 'target', '--table', 'a');
  const values = async (context: object): Promise<string> => sdk.getStringValue('scenario.reads', '', { targetingKey: 'acme', ...context });
  await vi.waitFor(async () => {
    const seen = [
      await values({}),
      await values({ tenant: 'late' }),
      await values({ table: 'public.b' }),
      await values({ table: 'public.a' }),
    ];
    expect(seen).toEqual(['shadow', 'source', 'shadow', 'target']);
  }, SOON);
  expect((await stage.flags('get', '--key', 'late', '--table', 'a')).result).toMatchObject({
    flags: [{ value: 'source' }, { value: 'source' }],
  });
  await stage.flags('set', '--kill');
  await until(() => client.readFrom({ unit: 'acme', table: 'a' }), 'source');
  await stage.flags('set', '--release');
  await until(() => client.readFrom({ unit: 'acme', table: 'a' }), 'target');
});

test('a flip of the state row reaches the SDK and the client within a second, there and back', async () => {
  await stage.flags('set', '--with-writes');
  const took: number[] = [];
  for (const [events, side] of [
    [CUT_OVER, 'target'],
    [ROLL_BACK, 'source'],
    [CUT_OVER, 'target'],
  ] as const) {
    await stage.apply(...events);
    const all = await Promise.all([
      until(async () => sdk.getStringValue('scenario.writes', ''), side),
      until(async () => sdk.getStringValue('scenario.reads', '', { targetingKey: 'acme' }), side),
      until(() => client.writeTo(), side),
      until(() => client.readFrom({ unit: 'acme' }), side),
    ]);
    took.push(Math.max(...all));
  }
  expect(Math.min(...took)).toBeLessThan(FLIP_MS);
  await vi.waitFor(async () => expect(await keptFlags(stage.instance)).toMatchObject({ serves: 'target', epoch: 3 }), SOON);
});

test('reads are not sent back to a source that does not serve', async () => {
  const refused = await stage.tryFlags('set', '--reads', 'source');
  expect([refused.exitCode, refused.error?.code]).toEqual([10, 'CF-8401']);
  await stage.apply(...ROLL_BACK);
  await until(() => client.writeTo(), 'source');
});

test('nor to a target that is not a whole image, and writes never by this command', async () => {
  await execute(stage.target, `UPDATE crossfade.table_progress SET state = 'held' WHERE name = 'scenario'`);
  await stage.instance.stop();
  const refused = await stage.tryFlags('set', '--reads', '5%');
  expect([refused.exitCode, refused.error?.message]).toEqual([10, expect.stringContaining('public.a is held')]);
  expect((await stage.tryFlags('set', '--reads', 'shadow')).exitCode).toBe(0);
  for (const wrong of [
    ['set'],
    ['set', '--reads', '101%'],
    ['set', '--reads', '5%', '--tenant', 'x'],
    ['set', '--kill', '--release'],
    ['flip'],
  ])
    expect((await stage.tryFlags(...wrong)).exitCode, wrong.join(' ')).toBe(2);
  expect((await stage.tryFlags('set', '--writes', 'target')).exitCode).toBe(2);
});
