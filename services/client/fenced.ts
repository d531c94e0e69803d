/**
 * Whether a write was refused because the store does not take writes any more. Guarantee: only what Crossfade's own fence raised counts; a read-only
 * replica or a serialization failure of the application's own is its own business.
 */
const STATES = new Set(['25006', '40001']);
/** ORMs wrap what the driver threw. */
const DEPTH_MAX = 5;

export function isFenced(error: unknown): boolean {
  return fenceRefusal(error) !== undefined;
}

export interface FenceRefusal {
  /** 25006: another store serves. 40001: a tenant moved while the transaction ran, which a new snapshot will see. */
  readonly state: string;
  /** Whose fence it was. Undefined: it does not say. */
  readonly migration: string | undefined;
}

export function fenceRefusal(error: unknown): FenceRefusal | undefined {
  let each: unknown = error;
  for (let depth = 0; depth < DEPTH_MAX && typeof each === 'object' && each !== null; depth++) {
    const { code, message, cause } = each as { readonly code?: unknown; readonly message?: unknown; readonly cause?: unknown };
    if (typeof code === 'string' && STATES.has(code) && typeof message === 'string' && /crossfade/i.test(message))
      return { state: code, migration: /\(migration (\w+)\)/.exec(message)?.[1] };
    each = cause;
  }
  return undefined;
}
