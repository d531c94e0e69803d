/**
 * Is the broker there? Guarantee: true only when it answers and its group coordinator does too, so that the first consumer of a test
 * does not meet "coordinator not available". Two requests of Kafka's protocol by hand: a client library would retry and log.
 */
import { connect } from 'node:net';

const FIND_COORDINATOR = 10;
const DESCRIBE_GROUPS = 15;
const GROUP = 'crossfade-readiness';
const ANSWER_TIMEOUT_MS = 3000;

export async function groupCoordinatorAnswers(broker: string): Promise<boolean> {
  try {
    // Asking for the coordinator makes the broker create its offsets topic.
    const found = await ask(broker, frame(FIND_COORDINATOR, [text(GROUP), Buffer.from([0])]));
    if (found.readInt16BE(8) !== 0) return false; // correlation id, throttle time, then the error
    const described = await ask(broker, frame(DESCRIBE_GROUPS, [int32(1), text(GROUP)]));
    return described.readInt16BE(12) === 0; // the same, then the number of groups
  } catch {
    return false;
  }
}

/** Version 1 of both requests: the last that every broker from 0.11 to 4.x knows. */
function frame(apiKey: number, body: readonly Buffer[]): Buffer {
  const rest = Buffer.concat([int16(apiKey), int16(1), int32(1), text('readiness'), ...body]);
  return Buffer.concat([int32(rest.length), rest]);
}

async function ask(broker: string, request: Buffer): Promise<Buffer> {
  const [host, port] = broker.split(':');
  const socket = connect(Number(port), host ?? '127.0.0.1');
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error('no answer')));
  try {
    socket.write(request);
    let answer = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) return answer.subarray(4);
    }
    throw new Error('the broker hung up');
  } finally {
    socket.destroy();
  }
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)]);
}
