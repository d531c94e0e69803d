import { expect, test } from 'vitest';
import { divertCopyData, type Socket } from '#connectors/source/postgres/copy-both.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

class FakeSocket implements Socket {
  #listeners: ((chunk: Buffer) => void)[] = [];
  listeners(): ((chunk: Buffer) => void)[] {
    return [...this.#listeners];
  }
  removeAllListeners(): void {
    this.#listeners = [];
  }
  on(_event: 'data', listener: (chunk: Buffer) => void): void {
    this.#listeners.push(listener);
  }
  receive(chunk: Buffer): void {
    for (const listener of this.#listeners) listener(chunk);
  }
}

function message(code: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(code, 0, 'latin1');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

test('every CopyData payload comes whole and in order however the socket cuts the bytes, and the rest goes on untouched', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  for (let round = 0; round < 200; round++) {
    const socket = new FakeSocket();
    const forwarded: Buffer[] = [];
    const payloads: string[] = [];
    socket.on('data', (chunk) => forwarded.push(Buffer.from(chunk)));
    divertCopyData(socket, (payload) => payloads.push(payload.toString('latin1')));
    const expected: string[] = [];
    const others: Buffer[] = [];
    const stream: Buffer[] = [];
    const put = (code: string, body: Buffer): void => {
      const bytes = message(code, body);
      stream.push(bytes);
      if (code === 'd') expected.push(body.toString('latin1'));
      else others.push(bytes);
    };
    put('T', Buffer.from('row description'));
    put('W', Buffer.from([0, 0, 0]));
    for (let i = 0; i < 30; i++)
      put(random.chance(1 / 8) ? 'S' : 'd', Buffer.alloc(random.between(0, random.chance(0.2) ? 3000 : 40), 97 + (i % 26)));
    put('c', Buffer.alloc(0));
    const bytes = Buffer.concat(stream);
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + random.between(1, random.chance(0.25) ? 4000 : 9));
      socket.receive(bytes.subarray(at, end));
      at = end;
    }
    expect(payloads, `seed ${seed}`).toEqual(expected);
    expect(Buffer.concat(forwarded).equals(Buffer.concat(others)), `seed ${seed}`).toBe(true);
  }
});

test('CopyData of an ordinary COPY, before the stream began, is left to node-postgres', () => {
  const socket = new FakeSocket();
  const forwarded: Buffer[] = [];
  socket.on('data', (chunk) => forwarded.push(chunk));
  divertCopyData(socket, () => expect.unreachable());
  socket.receive(message('d', Buffer.from('x')));
  expect(forwarded).toHaveLength(1);
});
