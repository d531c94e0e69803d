/**
 * How much there is to copy and how long that may take. Guarantee: an estimate says so: a range, with the rates it rests on, never one
 * figure that looks measured.
 */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { CatalogTable } from '#schemas/table.ts';
import { formatBytes, formatCount, formatDuration } from '../render.ts';

/** Rows and bytes per second that one process copied on small and on quick machines, fsync and mapping included. */
const SLOW = { rows: 50_000, bytes: 20 * 1024 ** 2 };
const QUICK = { rows: 250_000, bytes: 100 * 1024 ** 2 };

export interface Volume {
  readonly tables: number;
  readonly rows: number;
  readonly bytes: number;
  readonly copySeconds: { readonly from: number; readonly to: number };
  readonly basis: string;
}

export function estimateVolume(tables: readonly CatalogTable[], copy: MigrationFile['settings']['copy']): Volume {
  const rows = tables.reduce((sum, table) => sum + table.rowEstimate, 0);
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0);
  const seconds = (rate: { readonly rows: number; readonly bytes: number }): number =>
    Math.max(
      rows / Math.min(rate.rows, copy.maxRowsPerSecond ?? Infinity),
      bytes / Math.min(rate.bytes, copy.maxBytesPerSecond ?? Infinity),
    );
  const throttled = copy.maxRowsPerSecond !== undefined || copy.maxBytesPerSecond !== undefined;
  return {
    tables: tables.length,
    rows,
    bytes,
    copySeconds: { from: Math.ceil(seconds(QUICK)), to: Math.ceil(seconds(SLOW)) },
    basis: `the catalogue's row estimates; ${formatCount(SLOW.rows)} to ${formatCount(QUICK.rows)} rows/s and ${formatBytes(SLOW.bytes)} to ${formatBytes(QUICK.bytes)}/s${throttled ? ", under the file's limits" : ''}; indexes on the target slow it down`,
  };
}

export function describeVolume(volume: Volume): string {
  const { from, to } = volume.copySeconds;
  const time = to < 5 ? 'seconds' : `${formatDuration(from)} to ${formatDuration(to)}`;
  return `${formatCount(volume.tables)} tables, about ${formatCount(volume.rows)} rows, ${formatBytes(volume.bytes)}; copy: ${time}\n  (from ${volume.basis})\n`;
}
