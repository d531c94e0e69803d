/**
 * Records of the topic `NAME.requests`: what other processes ask of the reader and the sink. Guarantee: an id is acted on once by the
 * reader, however often the record is read; a record that is none of these is told as what it is and stands in nobody's way.
 */
import { z } from 'zod';
import { messageOf } from './errors.ts';
import type { RecopyRequest } from './recopy.ts';
import { throttleRequestSchema } from './status/control-request.ts';

export type ServiceRequest =
  /** `by`: what the sink lacks is brought whatever it takes; absent: an operator's, which may be refused. */
  | { readonly t: 'recopy'; readonly id: string; readonly request: RecopyRequest; readonly by?: 'sink' }
  | { readonly t: 'pause' | 'resume'; readonly id: string }
  | {
      readonly t: 'throttle';
      readonly id: string;
      /** Null lifts a limit, absent leaves it as it is. */
      readonly maxRowsPerSecond?: number | null;
      readonly maxBytesPerSecond?: number | null;
    }
  /** From the reader, once it has resumed, to the sink: held tables are tried again, but not those that the reader itself holds. */
  | { readonly t: 'resume-tables'; readonly id: string; readonly except: readonly (readonly [schema: string, table: string])[] };

/** What somebody put into the topic that this version does not understand: damaged, or of a later version. */
export interface UnknownRequest {
  readonly t: 'unknown';
  /** Where the record has one: who asked may wait for it. */
  readonly id: string | undefined;
  readonly why: string;
}

const id = z.string().min(1);
const table = { schema: z.string(), table: z.string(), reason: z.string() };
const recopySchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('table'), ...table }),
  z.object({ kind: z.literal('replace'), ...table }),
  z.object({ kind: z.literal('range'), ...table, from: z.string().exactOptional(), to: z.string().exactOptional() }),
  z.object({ kind: z.literal('keys'), ...table, keys: z.array(z.array(z.string())) }),
]);

const requestSchema: z.ZodType<ServiceRequest> = z.discriminatedUnion('t', [
  z.object({ t: z.literal('recopy'), id, request: recopySchema, by: z.literal('sink').exactOptional() }),
  z.object({ t: z.literal('pause'), id }),
  z.object({ t: z.literal('resume'), id }),
  z.object({ t: z.literal('throttle'), id, ...throttleRequestSchema.shape }),
  z.object({ t: z.literal('resume-tables'), id, except: z.array(z.tuple([z.string(), z.string()])) }),
]);

export function readServiceRequest(payload: Buffer): ServiceRequest | UnknownRequest {
  let record: unknown;
  try {
    record = JSON.parse(payload.toString('utf8'));
  } catch (error) {
    return { t: 'unknown', id: undefined, why: `it is no JSON: ${messageOf(error)}` };
  }
  const parsed = requestSchema.safeParse(record);
  if (parsed.success) return parsed.data;
  const named = z.object({ id }).safeParse(record);
  return {
    t: 'unknown',
    id: named.success ? named.data.id : undefined,
    why: `it is none that this version knows: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`,
  };
}
