/** The flags over HTTP: OFREP's form, tokens, ETags, events, changes, observations, and what is served while the target is away. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createCrossfadeClient } from '#services/client/client.ts';
import { execute } from '#test/support/application.ts';
import { type FlaggedInstance, startFlagged } from '#test/support/flagged-instance.ts';

const SOON = { timeout: 30_000, interval: 10 };

let other: FlaggedInstance;

afterAll(async () => other[Symbol.asyncDispose]());

async function evaluated(key: string, context: object = {}): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const response = await other.fetch(`/ofrep/v1/evaluate/flags/${key}`, { method: 'POST', body: { context } });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

beforeAll(async () => {
  other = await startFlagged();
});

test('errors have OFREP’s form', async () => {
  expect(await evaluated('nothing')).toEqual({
    status: 404,
    body: { key: 'nothing', errorCode: 'FLAG_NOT_FOUND', errorDetails: 'the flags are scenario.reads, scenario.writes' },
  });
  expect(await evaluated('scenario.reads', { targetingKey: ['x'] })).toMatchObject({
    status: 400,
    body: { key: 'scenario.reads', errorCode: 'INVALID_CONTEXT' },
  });
  expect(await evaluated('scenario.reads', { targetingKey: 7 })).toMatchObject({ status: 200 });
  const broken = await fetch(`${other.url}/ofrep/v1/evaluate/flags`, {
    method: 'POST',
    headers: { authorization: `Bearer ${other.token}`, 'content-type': 'application/json' },
    body: '{',
  });
  expect([broken.status, await broken.json()]).toMatchObject([400, { errorCode: 'PARSE_ERROR' }]);
});

test('nothing of it is open without a token, which may also come as X-API-Key', async () => {
  for (const [method, path] of [
    ['POST', '/ofrep/v1/evaluate/flags/scenario.reads'],
    ['POST', '/ofrep/v1/evaluate/flags'],
    ['GET', '/ofrep/v1/events'],
    ['GET', '/ofrep/v1/events?key=wrong'],
    ['GET', '/v1/flags'],
    ['PUT', '/v1/flags'],
    ['POST', '/v1/observations'],
    ['GET', '/v1/observations'],
  ] as const)
    expect((await fetch(other.url + path, { method })).status, path).toBe(401);
  const key = { method: 'POST', headers: { 'x-api-key': other.token } };
  expect((await fetch(`${other.url}/ofrep/v1/evaluate/flags/scenario.reads`, key)).status).toBe(200);
});

test('all flags at once, with an ETag that stands for the answer', async () => {
  const ask = async (etag?: string, targetingKey = 'acme'): Promise<Response> =>
    other.fetch('/ofrep/v1/evaluate/flags', {
      method: 'POST',
      body: { context: { targetingKey } },
      ...(etag !== undefined && { headers: { 'if-none-match': etag } }),
    });
  const first = await ask();
  const etag = first.headers.get('etag')!;
  expect(await first.json()).toMatchObject({
    flags: [
      { key: 'scenario.reads', value: 'source' },
      { key: 'scenario.writes', value: 'source' },
    ],
    eventStreams: [{ type: 'sse', url: expect.stringContaining('/ofrep/v1/events?key='), inactivityDelaySec: 120 }],
  });
  expect((await ask(etag)).status).toBe(304);
  await other.flags('set', '--reads', 'shadow', '--tenant', 'acme');
  await vi.waitFor(async () => expect((await ask(etag)).status).toBe(200), SOON);
});

test('events: one at the start, one for each change, each a reason to ask again', async () => {
  const all = await other.fetch('/ofrep/v1/evaluate/flags', { method: 'POST', body: {} });
  const { eventStreams } = (await all.json()) as { readonly eventStreams: readonly { readonly url: string }[] };
  const stop = new AbortController();
  const stream = await fetch(eventStreams[0]!.url, { signal: stop.signal });
  expect(stream.headers.get('content-type')).toBe('text/event-stream');
  let heard = '';
  const listening = (async () => {
    for await (const part of stream.body!) heard += Buffer.from(part).toString();
  })().catch(() => undefined);
  const events = (): unknown[] => [...heard.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as unknown);
  await vi.waitFor(() => expect(events()).toHaveLength(1), SOON);
  await other.flags('set', '--reads', 'shadow');
  await vi.waitFor(() => expect(events()).toHaveLength(2), SOON);
  expect(events()[1]).toEqual({ type: 'refetchEvaluation', etag: expect.stringMatching(/^"\d+\.\d+\.\d+"$/) });
  stop.abort();
  await listening;
});

test('PUT /v1/flags: past the gate, with who and why, and not over what somebody else changed', async () => {
  const now = await other.fetch('/v1/flags');
  const etag = now.headers.get('etag')!;
  const put = async (change: object, headers = {}): Promise<Response> =>
    other.fetch('/v1/flags', { method: 'PUT', body: { change, actor: 'ada', reason: 'test' }, headers });
  expect((await put({ kind: 'reads', reads: { targetPercent: 10 } }, { 'if-match': etag })).status).toBe(200);
  const late = await put({ kind: 'kill', kill: true }, { 'if-match': etag });
  expect([late.status, await late.json()]).toMatchObject([409, { error: { code: 'CF-8403' } }]);
  expect((await put({ kind: 'reads', reads: 'nowhere' })).status).toBe(400);
  expect((await other.fetch('/v1/flags', { headers: { 'if-none-match': etag } })).status).toBe(200);
  // Of the process that made it, at once.
  const document = (await (await other.fetch('/v1/flags')).json()) as {
    readonly rules: { readonly all: { readonly targetPercent: number } };
  };
  expect(document.rules.all.targetPercent).toBe(10);
});

test('what the client reads in shadow arrives as sums, and no value of a row does', async () => {
  const following = createCrossfadeClient({ name: 'scenario', url: other.url, token: other.token, shadow: { againTimes: 0 } });
  await other.flags('set', '--with-writes');
  await other.flags('set', '--reads', 'shadow');
  // Not by what was said of acme before, nor in between: what is said of everybody is the last that was said.
  await vi.waitFor(() => expect([following.readFrom({ unit: 'acme' }), following.readFrom()]).toEqual(['shadow', 'shadow']), SOON);
  const read = async (url: string, id: number): Promise<unknown> => execute(url, `SELECT id, v FROM a WHERE id = ${id}`);
  await execute(other.target, `UPDATE a SET v = 987654321 WHERE id = 2`);
  for (const id of [1, 2]) {
    const rows = await following.read({
      unit: 'acme',
      source: async () => read(other.source, id),
      target: async () => read(other.target, id),
    });
    expect(rows).toEqual([{ id: String(id), v: String(id) }]);
  }
  await vi.waitFor(async () => {
    const report = await (await other.fetch('/v1/observations?minutes=5')).text();
    expect(JSON.parse(report), report).toMatchObject({ mismatches: [{ op: 'read', stage: 'shadow', unit: 'acme', result: 'different' }] });
    expect(report).not.toContain('987654321');
    const { minutes } = JSON.parse(report) as { readonly minutes: readonly { readonly compared: number; readonly equal: number }[] };
    expect(minutes.reduce((sum, { compared }) => sum + compared, 0)).toBe(2);
    expect(minutes.reduce((sum, { equal }) => sum + equal, 0)).toBe(1);
  }, SOON);
  await following.close();
});

test('while the target is away the last known flags are served, and called stale', async () => {
  await execute(
    other.target,
    'ALTER TABLE crossfade.migration RENAME TO migration_away',
    'CREATE VIEW crossfade.migration AS SELECT 1 / 0 AS name',
  );
  await vi.waitFor(
    async () => expect((await evaluated('scenario.reads')).body).toMatchObject({ value: 'shadow', metadata: { stale: true } }),
    SOON,
  );
  await execute(other.target, 'DROP VIEW crossfade.migration', 'ALTER TABLE crossfade.migration_away RENAME TO migration');
  await vi.waitFor(async () => expect((await evaluated('scenario.reads')).body).not.toMatchObject({ metadata: { stale: true } }), SOON);
});
