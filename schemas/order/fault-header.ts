/**
 * The header `cfe` of a mapped record that stands for a row which could not be mapped. Guarantee: encode and decode are inverse; a record
 * that has it has neither key nor value, and its header `cf` (or `cfs`) says where the row came from as any other's does. It is JSON in
 * base64: Connect's workers parse what looks like JSON.
 */
import type { RowFault } from '../mapping/unmappable-row.ts';

export const FAULT_HEADER = 'cfe';

/** Texts by target column, before the mapping's steps; what is absent or not told is left out. */
export type FaultRow = Readonly<Record<string, string | null>>;

export interface FaultEvent extends RowFault {
  readonly op: 'c' | 'u' | 'd' | 'r';
  /** The row, or its key, as it was before. */
  readonly old?: FaultRow;
  readonly row: FaultRow;
}

export function encodeFault(event: FaultEvent): Buffer {
  return Buffer.from(Buffer.from(JSON.stringify(event), 'utf8').toString('base64url'), 'latin1');
}

export function decodeFault(header: Buffer): FaultEvent {
  return JSON.parse(Buffer.from(header.toString('latin1'), 'base64url').toString('utf8')) as FaultEvent;
}
