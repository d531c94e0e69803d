/** What a feed of one's own answers, and what is made of it; over real HTTP. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { look } from '#services/triggers/feeds.ts';
import { hooksPort } from '#services/control/hooks/run-hook.ts';

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => new Promise((resolve) => void server.close(() => resolve())) };
}

function fileOf(rest: string): MigrationFile {
  const url = 'postgres://postgres@127.0.0.1:5432/a';
  const text = `crossfade: 1\nname: shop\nsource: { postgres: "${url}" }\ntarget: { postgres: "${url}2" }\ntables:\n  - from: public.*\n${rest}`;
  const { file, findings } = readMigrationFile({ path: 'shop.yaml', text, env: {} });
  if (file === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
  return file;
}

async function seen(rest: string): Promise<Record<string, number | undefined>> {
  const ports = { reports: () => [], differingRows: async () => 0, targetAnswers: async () => true, fetch };
  const found = await Promise.all(
    fileOf(`triggers:\n${rest}`).triggers!.map(async (one) => [one.name, (await look(one, ports, 0))?.sum] as const),
  );
  return Object.fromEntries(found);
}

test('a user and password in the address, or a header, are sent; nothing is called failed because the address has them', async () => {
  await using server = await serve(({ headers: { authorization } }, response) => {
    const isKnown = authorization === `Basic ${Buffer.from('ops:p@ss').toString('base64')}` || authorization === 'Bearer t';
    response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ rate: 0.5, data: { resultType: 'scalar', result: [0, '0.25'] } }));
  });
  const [own, bare] = [`http://ops:p%40ss@127.0.0.1:${server.port}`, `http://127.0.0.1:${server.port}`];
  const found = await seen(`
  - { name: alive, when: failure, from: { http: { url: "${own}/live" } } }
  - { name: rate, when: errors, from: { http: { url: "${own}/health", value: rate } } }
  - { name: query, when: errors, from: { promql: { url: "${own}", query: "up" } } }
  - { name: token, when: errors, from: { promql: { url: "${bare}", query: "up", headers: { Authorization: "Bearer t" } } } }
  - { name: refused, when: failure, from: { http: { url: "${bare}/live" } } }`);
  expect(found).toEqual({ alive: 0, rate: 0.5, query: 0.25, token: 0.25, refused: 1 });

  const { hooks } = fileOf(`cutover: { hooks: { before: [{ url: "${own}/freeze" }, { url: "${own}/later", timeout: 1s }] } }`).cutover!;
  const reports = await hooksPort({ name: 'shop', ...hooks, environment: {} }).before({
    event: 'before',
    kind: 'cutover',
    drill: true,
    epoch: 1n,
    serves: 'source',
  });
  expect(reports.map(({ ok }) => ok)).toEqual([true, true]);
  expect(JSON.stringify(reports)).not.toContain('p%40ss');
});

test('what is no one number is nothing; an address that sends elsewhere is neither well nor failed', async () => {
  const results: Record<string, unknown> = {
    nan: { resultType: 'vector', result: [{ value: [0, 'NaN'] }] },
    none: { resultType: 'vector', result: [] },
    many: { resultType: 'vector', result: [{ value: [0, '1'] }, { value: [0, '2'] }] },
    odd: { resultType: 'vector', result: [null] },
    one: { resultType: 'vector', result: [{ value: [0, '3'] }] },
  };
  await using server = await serve((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://127.0.0.1');
    if (pathname === '/live') response.writeHead(302, { location: '/login' }).end();
    else
      response
        .writeHead(200)
        .end(pathname === '/login' ? '<p>Who are you?</p>' : JSON.stringify({ data: results[searchParams.get('query')!] }));
  });
  const url = `http://127.0.0.1:${server.port}`;
  const queries = Object.keys(results).map(
    (name) => `  - { name: ${name}, when: errors, from: { promql: { url: "${url}", query: ${name} } } }`,
  );
  const found = await seen([...queries, `  - { name: live, when: failure, from: { http: { url: "${url}/live" } } }`].join('\n'));
  expect(found).toEqual({ nan: undefined, none: undefined, many: undefined, odd: undefined, one: 3, live: undefined });
});
