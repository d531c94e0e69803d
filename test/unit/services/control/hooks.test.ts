import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import type { HookEntry } from '#schemas/config/migration-file.ts';
import type { HookCall } from '#services/control/flip/ports.ts';
import { hooksPort } from '#services/control/hooks/run-hook.ts';

const CALL: HookCall = { event: 'before', kind: 'cutover', drill: false, epoch: 3n, serves: 'target' };
const EVENT = { migration: 'shop', event: 'before', act: 'cutover', drill: false, epoch: '3', serves: 'target' };

function shell(command: string, timeoutMs = 10_000): HookEntry {
  return { name: command, kind: 'exec', command: ['/bin/sh', '-c', command], timeoutMs };
}

function portOf(before: readonly HookEntry[], after: readonly HookEntry[] = []): ReturnType<typeof hooksPort> {
  return hooksPort({ name: 'shop', before, after, environment: { PATH: process.env['PATH'] } });
}

test('a command gets the event on its standard input; exit 0 is a yes', async () => {
  const [report] = await portOf([shell('cat')]).before(CALL);
  expect(report).toMatchObject({ ok: true, said: `exit 0: ${JSON.stringify(EVENT)}` });
});

test('the first no ends it, and says why; those behind it are not asked', async () => {
  const reports = await portOf([shell('true'), shell('echo frozen >&2; exit 3'), shell('true')]).before(CALL);
  expect(reports.map(({ ok, said }) => [ok, said])).toEqual([
    [true, 'exit 0'],
    [false, 'exit 3: frozen'],
  ]);
});

test('one that does not end is ended, and counts as a no; so does one that cannot be run', async () => {
  const [late] = await portOf([{ name: 'late', kind: 'exec', command: ['sleep', '60'], timeoutMs: 50 }]).before(CALL);
  expect(late).toMatchObject({ ok: false });
  const [absent] = await portOf([{ name: 'absent', kind: 'exec', command: ['/no/such/program'], timeoutMs: 1_000 }]).before(CALL);
  expect(absent).toMatchObject({ ok: false, said: expect.stringContaining('cannot be run') as string });
});

test('an address gets a POST with its headers; anything but 2xx is a no, and an after-hook is tried again', async () => {
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      bodies.push(`${request.headers['x-key'] as string} ${body}`);
      response.writeHead(bodies.length === 1 ? 503 : 204).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const hook: HookEntry = { name: 'dns', kind: 'http', url, headers: { 'x-key': 'k' }, timeoutMs: 5_000 };
  try {
    expect(await portOf([], [hook]).after({ ...CALL, event: 'after' })).toMatchObject([{ hook: 'dns', ok: true, said: 'HTTP 204' }]);
    expect(bodies).toEqual([`k ${JSON.stringify({ ...EVENT, event: 'after' })}`, `k ${JSON.stringify({ ...EVENT, event: 'after' })}`]);
  } finally {
    server.close();
  }
  const [gone] = await portOf([hook]).before(CALL);
  expect(gone).toMatchObject({ ok: false, said: expect.stringContaining('no answer') as string });
});

test('what a command leaves running behind it is not waited for, and what runs in it ends with it', async () => {
  const [left] = await portOf([shell('sleep 60 & echo begun $!', 30_000)]).before(CALL);
  expect(left).toMatchObject({ ok: true, said: expect.stringMatching(/^exit 0: begun \d+$/) as string });
  expect(left!.ms).toBeLessThan(10_000);
  process.kill(Number(left!.said.split(' ').at(-1)));
  const [late] = await portOf([shell('sleep 60; true', 200)]).before(CALL);
  expect(late).toMatchObject({ ok: false, said: 'not done within 200 ms: ended' });
  expect(late!.ms).toBeLessThan(10_000);
  const [killed] = await portOf([shell('kill -TERM $$')]).before(CALL);
  expect(killed).toMatchObject({ ok: false, said: 'ended by SIGTERM' });
});

test('an address that sends elsewhere is a no; of what it says only the beginning is read, and none of its secrets kept', async () => {
  const server = createServer((request, response) => {
    const endless = (): void => void (response.destroyed || response.write('x'.repeat(65_536), () => setImmediate(endless)));
    if (request.url === '/moved') response.writeHead(302, { location: '/login' }).end();
    else if (request.url === '/login') response.writeHead(200).end('please log in');
    else {
      response.writeHead(200).write(`you sent ${request.headers['authorization']}; `);
      endless();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const hook = { name: 'dns', kind: 'http', headers: { authorization: 'Bearer s3cret-token' }, timeoutMs: 5_000 } as const;
  try {
    const [moved] = await portOf([{ ...hook, url: `${url}/moved` }]).before(CALL);
    expect(moved).toMatchObject({ ok: false, said: 'HTTP 302: sends to another address, which is not asked' });
    const [endless] = await portOf([{ ...hook, url: `${url}/echo` }]).before(CALL);
    expect(endless).toMatchObject({ ok: true, said: expect.stringMatching(/^HTTP 200: you sent \*\*\*; x+$/) as string });
    expect(endless!.said.length).toBeLessThan(600);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
