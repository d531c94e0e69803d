/**
 * What the order topic does not take. Guarantee: the error says which change it was, and what to set; nothing of its segment counts yet, so
 * the reader goes on with that very change once the limit is raised.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { Segment } from '#schemas/order/order-record.ts';
import { TAG } from '#schemas/pgoutput/message.ts';

export interface OrderedFrames {
  readonly topic: string;
  readonly segments: readonly Segment[];
  /** Of a relation that the file does not map: its rows stand in the order. */
  readonly nameOf: (oid: number) => string | undefined;
}

/** The same error, where it is another one. */
export function orderTooLarge(error: unknown, { topic, segments, nameOf }: OrderedFrames): unknown {
  if (!(error instanceof PipelineError) || error.code !== 'CF-3005') return error;
  const frames = segments.flatMap(({ skeleton }) => [...skeleton].map(({ frame }) => frame));
  const largest = frames.reduce<Buffer | undefined>((a, b) => (a !== undefined && a.length >= b.length ? a : b), undefined);
  if (largest === undefined) return error;
  const isRow = largest[0] === TAG.insert || largest[0] === TAG.update || largest[0] === TAG.delete;
  const table = isRow ? nameOf(largest.readUInt32BE(1)) : undefined;
  const what = table === undefined ? 'a change' : `a row of ${table}`;
  const why = table === undefined ? '' : ' (the file does not map that table)';
  return new PipelineError(
    'CF-3005',
    `${what} of ${largest.length} bytes${why} does not fit into topic ${topic}, where such changes stand: raise max.message.bytes of that topic`,
    {
      cause: error,
      remedy:
        'Raise it and start the reader again: it goes on with that change, nothing was lost. A publication of the mapped tables alone keeps such changes out.',
    },
  );
}
