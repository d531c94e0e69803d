/**
 * Takes CopyData out of the socket before node-postgres's parser sees it. Guarantee: whole CopyData payloads in order, as views over
 * the socket's chunk; every other message goes on to node-postgres untouched.
 *
 * Why: per message the usual way builds an event object, two hexadecimal LSN texts and a promise, which measured more than all that
 * the reader itself does with a change.
 */
const COPY_DATA = 0x64; // d
const COPY_BOTH_RESPONSE = 0x57; // W
const HEADER_BYTES = 5;

export interface Socket {
  listeners(event: 'data'): ((chunk: Buffer) => void)[];
  removeAllListeners(event: 'data'): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
}

/** Call while the connection is idle (between messages). `onCopyData` gets the payload behind the message header. */
export function divertCopyData(socket: Socket, onCopyData: (payload: Buffer) => void): void {
  const original = socket.listeners('data');
  const forward = (bytes: Buffer): void => {
    for (const listener of original) listener(bytes);
  };
  let copying = false;
  let kept: Buffer[] = [];
  let keptBytes = 0;
  /** Bytes that `kept` must reach before another look is worth it. */
  let wanted = HEADER_BYTES;
  const consume = (chunk: Buffer): number => {
    let at = 0;
    while (at + HEADER_BYTES <= chunk.length) {
      const code = chunk[at]!;
      const end = at + 1 + chunk.readUInt32BE(at + 1);
      if (end > chunk.length) {
        wanted = end - at;
        return at;
      }
      if (copying && code === COPY_DATA) onCopyData(chunk.subarray(at + HEADER_BYTES, end));
      else {
        if (code === COPY_BOTH_RESPONSE) copying = true;
        forward(chunk.subarray(at, end));
      }
      at = end;
    }
    wanted = HEADER_BYTES;
    return at;
  };
  socket.removeAllListeners('data');
  socket.on('data', (received) => {
    let chunk = received;
    if (keptBytes > 0) {
      kept.push(received);
      keptBytes += received.length;
      if (keptBytes < wanted) return;
      chunk = Buffer.concat(kept, keptBytes);
      kept = [];
      keptBytes = 0;
    }
    const consumed = consume(chunk);
    if (consumed === chunk.length) return;
    kept = [chunk.subarray(consumed)];
    keptBytes = chunk.length - consumed;
  });
}
