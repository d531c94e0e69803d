/**
 * Log sequence numbers. Guarantee: an `Lsn` is made only here, so it is always a 64-bit unsigned WAL byte position.
 * Ends are exclusive: "below L" always means commit LSN < L (one commit's end can be the next commit's start).
 */
import { invariant, PipelineError } from './errors.ts';

export type Lsn = bigint & { readonly __brand: 'Lsn' };

export const ZERO_LSN: Lsn = 0n as Lsn;

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Parses PostgreSQL's `X/Y` text form. @throws PipelineError CF-1001 on any other text. */
export function parseLsn(text: string): Lsn {
  const match = LSN_TEXT.exec(text);
  if (!match) throw new PipelineError('CF-1001', `not a log sequence number: ${JSON.stringify(text)}`);
  return ((BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)) as Lsn;
}

export function toLsn(value: bigint): Lsn {
  invariant(value >= 0n && value < 1n << 64n, 'an LSN is an unsigned 64-bit number');
  return value as Lsn;
}

/** PostgreSQL's own form, for example `16/B374D848`. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

export function readLsn(buffer: Buffer, at: number): Lsn {
  return buffer.readBigUInt64BE(at) as Lsn;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

export function minLsn(a: Lsn, b: Lsn): Lsn {
  return a < b ? a : b;
}
