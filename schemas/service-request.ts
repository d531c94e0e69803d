/**
 * Records of the topic `NAME.requests`: what other processes ask of the reader and the sink. Guarantee: an id is acted on once by the
 * reader, however often the record is read.
 */
import type { RecopyRequest } from './recopy.ts';

export type ServiceRequest =
  | { readonly t: 'recopy'; readonly id: string; readonly request: RecopyRequest }
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
