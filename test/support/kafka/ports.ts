/**
 * Ports for test servers. Guarantee: each port returned was free a moment ago, and lies below the range from which the system gives
 * ports to outgoing connections, one of which could otherwise take it while the server is restarted.
 */
import { createServer } from 'node:net';

const FIRST_PORT = 20_000;
const PORTS = 12_000;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    const probe = createServer();
    const free = await new Promise<boolean>((done) => probe.once('error', () => done(false)).listen(port, () => done(true)));
    if (!free) continue;
    await new Promise((done) => probe.close(done));
    return port;
  }
}
