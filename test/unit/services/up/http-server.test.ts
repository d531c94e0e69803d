import { mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PipelineError } from '#schemas/errors.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { createInstanceClient, findInstance } from '#services/cli/instance-client.ts';
import { instanceToken, readInstance, removeInstance, writeInstance } from '#services/runtime/instance-file.ts';
import { createMeter } from '#services/runtime/metrics.ts';
import { type ControlActions, createHttpServer, type HttpServer, type HttpServerOptions } from '#services/up/http/http-server.ts';

const STATUS: StatusResult = {
  name: 'shop',
  phase: 'following',
  tables: [{ from: 'public.a', to: 'app.a', phase: 'following', rowsCopied: 3, rowsEstimated: 3, changesApplied: 7 }],
  lag: { bytes: 0, seconds: 0, known: true },
  source: { lsn: '0/16B3748', slot: { retainedBytes: 12, status: 'reserved' } },
  applied: { lsn: '0/16B3748', exact: true },
  copy: { paused: false, maxRowsPerSecond: 5, maxBytesPerSecond: null, refused: [] },
  restarts: 1,
  deadLetters: 0,
  drift: 0,
  plan: null,
};
const signal = new AbortController().signal;

interface Stage {
  readonly server: HttpServer;
  readonly dataDir: string;
  readonly calls: unknown[];
}

async function open(changes: Partial<HttpServerOptions> = {}): Promise<Stage & AsyncDisposable> {
  const dataDir = mkdtempSync(join(tmpdir(), 'crossfade-http-'));
  const calls: unknown[] = [];
  const actions: ControlActions = {
    recopy: async (request) => void calls.push(request),
    pause: async () => void calls.push('pause'),
    resume: async () => {
      throw new PipelineError('CF-5003', 'public.a is still held', { remedy: 'mend it' });
    },
    throttle: async ({ maxRowsPerSecond = null, maxBytesPerSecond = null }) => ({ maxRowsPerSecond, maxBytesPerSecond }),
    marker: async ({ waitMs }) => ({ lsn: '0/20', applied: waitMs > 0, seconds: 0.01 }),
  };
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    token: 'right',
    dataDir,
    metrics: createMeter(),
    actions,
    status: () => STATUS,
    readiness: () => ({ ready: true }),
    ...changes,
  });
  return { server, dataDir, calls, [Symbol.asyncDispose]: () => server.close() };
}

async function get(url: string, token?: string): Promise<Response> {
  return fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
}

test('the instance file is whole, for its owner only, and gone after the stop', async () => {
  const { server, dataDir } = await open();
  expect(await readInstance(dataDir)).toEqual({ url: server.url, token: 'right', pid: process.pid });
  expect(statSync(join(dataDir, 'instance.json')).mode & 0o777).toBe(0o600);
  await server.close();
  expect(await readInstance(dataDir)).toBeUndefined();
});

test("an instance never removes another's file", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'crossfade-http-'));
  await writeInstance(dataDir, { url: 'http://127.0.0.1:1', token: 't', pid: process.pid });
  await removeInstance(dataDir, process.pid + 1);
  expect(await readInstance(dataDir)).toBeDefined();
});

test('the token is made once and kept, and CROSSFADE_TOKEN comes before it', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'crossfade-http-'));
  const first = await instanceToken(dataDir, {});
  expect(first.length).toBeGreaterThan(30);
  expect(await instanceToken(dataDir, {})).toBe(first);
  expect(statSync(join(dataDir, 'token')).mode & 0o777).toBe(0o600);
  expect(await instanceToken(dataDir, { CROSSFADE_TOKEN: 'given' })).toBe('given');
});

test('status needs the token; health, readiness and metrics do not on loopback', async () => {
  await using stage = await open();
  const { url } = stage.server;
  for (const token of [undefined, '', 'wrong', 'right2']) {
    const reply = await get(`${url}/v1/status`, token);
    expect(reply.status).toBe(401);
    expect(await reply.json()).toMatchObject({ ok: false, result: null, error: { code: 'CF-7004' }, findings: [] });
  }
  const reply = await get(`${url}/v1/status`, 'right');
  expect(reply.status).toBe(200);
  expect(await reply.json()).toEqual(STATUS);
  for (const path of ['/healthz', '/readyz', '/metrics']) expect((await get(url + path)).status, path).toBe(200);
});

test('outside loopback health asks for the token too', async () => {
  await using stage = await open({ host: '0.0.0.0' });
  const url = `http://127.0.0.1:${stage.server.port}`;
  expect((await get(`${url}/healthz`)).status).toBe(401);
  expect((await get(`${url}/healthz`, 'right')).status).toBe(200);
});

test('not ready is 503 with the reason', async () => {
  await using stage = await open({ readiness: () => ({ ready: false, reason: 'the source does not answer' }) });
  const reply = await get(`${stage.server.url}/readyz`);
  expect(reply.status).toBe(503);
  expect(await reply.json()).toEqual({ ready: false, reason: 'the source does not answer' });
});

test('a body that its schema refuses never reaches the action', async () => {
  await using stage = await open();
  const post = async (path: string, body: string): Promise<Response> =>
    fetch(stage.server.url + path, {
      method: 'POST',
      headers: { authorization: 'Bearer right', 'content-type': 'application/json' },
      body,
    });
  for (const body of [
    '{"kind":"table"}',
    '{"kind":"all"}',
    '{"kind":"keys","schema":"s","table":"t","keys":[]}',
    '{"kind":"table","schema":"s","table":"t","x":1}',
    '{',
    '[]',
  ]) {
    const reply = await post('/v1/recopy', body);
    expect(reply.status, body).toBe(400);
    expect(await reply.json()).toMatchObject({ ok: false, error: { code: 'CF-1007' } });
  }
  const large = await post('/v1/recopy', JSON.stringify({ kind: 'table', schema: 's', table: 't', reason: 'x'.repeat(5_000_000) }));
  expect(large.status).toBe(413);
  expect(stage.calls).toEqual([]);
  expect((await post('/v1/nothing', '{}')).status).toBe(404);
});

test('the client speaks the same shapes, and gets an error of the instance as it was', async () => {
  await using stage = await open();
  const address = await findInstance({ dataDir: stage.dataDir, environment: {}, signal });
  expect(address).toEqual({ url: stage.server.url, token: 'right' });
  const client = createInstanceClient(address!, signal);
  expect(await client.status()).toEqual(STATUS);
  await client.recopy({ kind: 'range', schema: 'public', table: 'a', from: '1', reason: 'test' });
  await client.pause();
  expect(stage.calls).toEqual([{ kind: 'range', schema: 'public', table: 'a', from: '1', reason: 'test' }, 'pause']);
  expect(await client.throttle({ maxRowsPerSecond: 5 })).toEqual({ maxRowsPerSecond: 5, maxBytesPerSecond: null });
  expect(await client.marker({ waitMs: 10 })).toEqual({ lsn: '0/20', applied: true, seconds: 0.01 });
  await expect(client.resume()).rejects.toMatchObject({ code: 'CF-5003', message: 'public.a is still held', remedy: 'mend it' });
});

test('nobody answers, or something else does: CF-7001', async () => {
  const gone = createInstanceClient({ url: 'http://127.0.0.1:1', token: 't' }, signal);
  await expect(gone.status()).rejects.toMatchObject({ code: 'CF-7001' });
  await using stage = await open({ status: () => ({ strange: true }) as unknown as StatusResult });
  const other = createInstanceClient({ url: stage.server.url, token: 'right' }, signal);
  await expect(other.status()).rejects.toMatchObject({ code: 'CF-7001' });
});

test('a gauge that is read at the scrape is never stale, and unknown is absent rather than zero', async () => {
  const meter = createMeter();
  let lag: number | undefined = 5;
  meter.gauge({ name: 'lag_bytes', help: 'lag' }, () => lag);
  meter.counter({ name: 'changes_total', help: 'changes', labels: ['table'] }).add(2, { table: 'a' });
  expect(await meter.text()).toContain('crossfade_lag_bytes 5');
  expect(await meter.text()).toContain('crossfade_changes_total{table="a"} 2');
  lag = undefined;
  expect(await meter.text()).not.toMatch(/^crossfade_lag_bytes \d/m);
});

test('a port that is taken: CF-7007, which names it and says how to get another', async () => {
  await using stage = await open();
  const second = open({ port: stage.server.port });
  await expect(second).rejects.toMatchObject({ code: 'CF-7007', message: expect.stringContaining(String(stage.server.port)) });
  await expect(second).rejects.toMatchObject({ remedy: expect.stringContaining('--port 0') });
});
