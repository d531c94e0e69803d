/** A wire to a PostgreSQL server that can be cut. Guarantee: until then every byte passes; after it the client sees its connection end. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface CutWire extends AsyncDisposable {
  /** The same database, by this wire. */
  readonly url: string;
  /** answers: what the client sends still arrives, and the next answer ends its connection instead. both: at once. */
  cut(what: 'answers' | 'both'): void;
}

export async function openCutWire(url: string): Promise<CutWire> {
  const { hostname, port } = new URL(url);
  const pairs: { readonly client: Socket; readonly server: Socket }[] = [];
  let isCut = false;
  const wire = createServer((client) => {
    const server = connect(Number(port), hostname);
    pairs.push({ client, server });
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.pipe(server);
    server.on('data', (answer) => {
      if (isCut) client.destroy();
      else client.write(answer);
    });
    server.on('close', () => client.destroy());
  });
  wire.listen(0, '127.0.0.1');
  await once(wire, 'listening');
  const own = new URL(url);
  own.host = `127.0.0.1:${(wire.address() as AddressInfo).port}`;
  return {
    url: own.href,
    cut: (what) => {
      isCut = true;
      if (what === 'both') for (const { client, server } of pairs) [client, server].forEach((socket) => socket.destroy());
    },
    [Symbol.asyncDispose]: async () => {
      for (const { client, server } of pairs) [client, server].forEach((socket) => socket.destroy());
      wire.close();
      await once(wire, 'close');
    },
  };
}
