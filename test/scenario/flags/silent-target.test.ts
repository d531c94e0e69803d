/** A target of which nothing comes any more, not even a refusal: as behind a network that swallows packets. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { openFlagStore } from '#services/flags/open-store.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('a look fails in time, and the next one after it is whole again has a session of its own', async () => {
  await using database = await freshDatabase();
  const { port, hostname } = new URL(database.url);
  const sockets: Socket[] = [];
  let isSilent = false;
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    sockets.push(client, server);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on('data', (bytes) => isSilent || to.write(bytes));
      from.on('error', () => undefined);
      from.on('close', () => to.destroy());
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const url = new URL(database.url);
  url.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const store = openFlagStore(url.href, 'shop');
  const nothing = { name: 'shop', epoch: 0, state: 0, serves: 'source' };
  expect(await store.read()).toEqual(nothing);
  isSilent = true;
  const beganMs = performance.now();
  await expect(store.read()).rejects.toThrow(/not answered/);
  // TCP itself would wait for many minutes.
  expect(performance.now() - beganMs).toBeLessThan(20_000);
  isSilent = false;
  expect(await store.read()).toEqual(nothing);
  await store.close();
  for (const socket of sockets) socket.destroy();
  proxy.close();
});
