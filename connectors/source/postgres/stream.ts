/**
 * The walsender's stream. Guarantee: messages arrive in order as views over a reused buffer (copy what is kept), and the standby
 * status sent is exactly the flush LSN the caller names: nothing here acknowledges by itself.
 *
 * Transport: pg-logical-replication opens and closes the stream; the bytes are taken at the socket (copy-both.ts). Its own acknowledge() sends LSN + 1, which
 * skips a commit record that starts exactly there, and its timer confirms what was only received; neither is used.
 */
import { LogicalReplicationService } from 'pg-logical-replication';
import type pg from 'pg';
import { formatLsn, readLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { quoteIdent } from '#schemas/table.ts';
import { clientConfig } from '#connectors/postgres/session.ts';
import { divertCopyData, type Socket } from './copy-both.ts';

export interface StreamOptions {
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  readonly applicationName: string;
}

export interface StreamHandlers {
  /** `message` may be reused after the call. A throw ends the stream with that error. */
  onMessage(message: Buffer): void;
  /** Everything the server has to send up to `end` was sent. */
  onKeepalive(end: Lsn, replyRequested: boolean): void;
}

export interface ReplicationStream {
  /** Resolves after stop(); rejects with what ended the stream otherwise. */
  readonly done: Promise<void>;
  pause(): void;
  resume(): void;
  /** Tells the server that everything below `flushed` is durable here. */
  sendStatus(flushed: Lsn): void;
  stop(): Promise<void>;
}

type Plugin = Parameters<LogicalReplicationService['subscribe']>[0];

/** The parts of node-postgres's connection that the protocol needs and its types leave out. */
interface CopyBothConnection {
  readonly stream: Socket & { pause(): void; resume(): void; destroy(): void; readonly destroyed: boolean };
  sendCopyFromChunk(chunk: Buffer): void;
}

/** XLogData: tag, start, end, clock; then the pgoutput message. Keepalive: tag, end, clock, reply requested. */
const XLOG_DATA = 0x77;
const XLOG_DATA_HEADER_BYTES = 25;
const KEEPALIVE = 0x6b;
/** Longest wait for the server to close the stream before the socket is dropped. */
const STOP_TIMEOUT_MS = 2_000;

/** Starts streaming from the slot's confirmed LSN. Resolves once the server accepted. @throws PipelineError CF-2001, CF-2009 */
export async function startStream(options: StreamOptions, handlers: StreamHandlers): Promise<ReplicationStream> {
  const config = clientConfig(options.url, { applicationName: options.applicationName, role: 'source' });
  const service = new LogicalReplicationService(config, {
    acknowledge: { auto: false, timeoutSeconds: 0 },
    flowControl: { enabled: false },
  });
  const { promise: done, resolve, reject } = Promise.withResolvers<void>();
  done.catch(() => undefined); // observed by the caller; the start below may fail first
  let connection: CopyBothConnection | undefined;
  let ended = false;
  const fail = (error: unknown): void => {
    if (ended) return;
    ended = true;
    connection?.stream.destroy();
    reject(streamError(error));
  };
  const receive = (payload: Buffer): void => {
    if (ended) return;
    try {
      if (payload[0] === XLOG_DATA) handlers.onMessage(payload.subarray(XLOG_DATA_HEADER_BYTES));
      else if (payload[0] === KEEPALIVE) handlers.onKeepalive(readLsn(payload, 1), payload[17] === 1);
    } catch (error) {
      fail(error);
    }
  };
  const plugin = rawPlugin(options, (open) => {
    connection = open;
    divertCopyData(open.stream, receive);
  });
  service.on('error', fail);
  const started = Promise.withResolvers<void>();
  service.on('start', () => started.resolve());
  service.subscribe(plugin, options.slot, formatLsn(ZERO_LSN)).then(
    () => fail(new Error('the server closed the stream')),
    (error: unknown) => {
      fail(error);
      started.reject(streamError(error));
    },
  );
  await Promise.race([started.promise, done]);
  return {
    done,
    pause: () => connection?.stream.pause(),
    resume: () => connection?.stream.resume(),
    sendStatus: (flushed) => {
      if (!ended && connection && !connection.stream.destroyed) connection.sendCopyFromChunk(standbyStatus(flushed));
    },
    stop: async () => {
      ended = true;
      const force = setTimeout(() => connection?.stream.destroy(), STOP_TIMEOUT_MS);
      await service.destroy().catch(() => undefined);
      clearTimeout(force);
      connection?.stream.destroy();
      resolve();
    },
  };
}

function rawPlugin(options: StreamOptions, connected: (connection: CopyBothConnection) => void): Plugin {
  const plugin = {
    name: 'pgoutput',
    options: {},
    start: (client: pg.Client): Promise<unknown> => {
      connected((client as unknown as { connection: CopyBothConnection }).connection);
      const publication = quoteIdent(options.publication).replaceAll("'", "''");
      return client.query(
        `START_REPLICATION SLOT ${quoteIdent(options.slot)} LOGICAL 0/0 (proto_version '1', publication_names '${publication}', messages 'true')`,
      );
    },
    parse: (): undefined => undefined,
  };
  return plugin;
}

/** Standby status update (protocol-replication.html): written = flushed = applied, exactly. */
function standbyStatus(flushed: Lsn): Buffer {
  const lsn = guarded('library-ack') ? flushed : flushed + 1n;
  const status = Buffer.alloc(34);
  status[0] = 0x72;
  status.writeBigUInt64BE(lsn, 1);
  status.writeBigUInt64BE(lsn, 9);
  status.writeBigUInt64BE(lsn, 17);
  status.writeBigInt64BE(BigInt(Date.now() - 946_684_800_000) * 1000n, 25);
  return status;
}

function streamError(error: unknown): Error {
  if (error instanceof PipelineError || (error instanceof Error && error.name === 'InvariantError')) return error;
  const code = (error as { code?: string } | undefined)?.code;
  const text = messageOf(error);
  if (code === '55006') return new PipelineError('CF-2009', `the slot is in use: ${text}`, { cause: error });
  if (code === '55000' || code === '58P01' || /can no longer (get|access)|has been invalidated|requested WAL segment/.test(text)) {
    return new PipelineError('CF-2004', `the slot cannot be read from: ${text}`, { cause: error });
  }
  if (code === '42704') return new PipelineError('CF-2004', `the slot or publication is gone: ${text}`, { cause: error });
  if (code === '28P01' || code === '28000' || code === '42501') {
    return new PipelineError('CF-2003', `the source refuses to stream: ${text}`, { cause: error });
  }
  return new PipelineError('CF-2001', `the stream from the source ended: ${text}`, { cause: error });
}
