/**
 * A stream that is open and waits. Guarantee: while it is held the slot is ours and does not move (the status repeats where it stands);
 * what arrived before the socket was paused is kept, in order, and handed on first.
 */
import { startStream, type ReplicationStream, type StreamHandlers, type StreamOptions } from '#connectors/source/postgres/stream.ts';
import type { Lsn } from '#schemas/lsn.ts';

export interface HeldStream {
  readonly stream: ReplicationStream;
  /** Hands on what was kept; the socket stays paused: the caller resumes it. */
  release(handlers: StreamHandlers): void;
}

export interface HoldOptions {
  readonly statusEveryMs: number;
  /** What the slot has confirmed. */
  readonly confirmed: Lsn;
}

/** Resolves once the server streams to us. @throws PipelineError CF-2001, CF-2009 */
export async function holdStream(options: StreamOptions, { statusEveryMs, confirmed }: HoldOptions): Promise<HeldStream> {
  const kept: ((to: StreamHandlers) => void)[] = [];
  let handlers: StreamHandlers = {
    onMessage: (message) => {
      const copy = Buffer.from(message);
      kept.push((to) => to.onMessage(copy));
    },
    onKeepalive: (end, replyRequested) => void kept.push((to) => to.onKeepalive(end, replyRequested)),
  };
  const stream = await startStream(options, {
    onMessage: (message) => handlers.onMessage(message),
    onKeepalive: (end, replyRequested) => handlers.onKeepalive(end, replyRequested),
  });
  stream.pause();
  const timer = setInterval(() => stream.sendStatus(confirmed), statusEveryMs);
  const end = (): void => clearInterval(timer);
  stream.done.then(end, end);
  return {
    stream,
    release: (to) => {
      end();
      handlers = to;
      for (const hand of kept.splice(0)) hand(to);
    },
  };
}
