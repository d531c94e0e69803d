/** The data directory before anything is created: may it be written, and does the change log have room. Guarantee: makes nothing. */
import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, warningFinding } from '#schemas/finding.ts';
import { formatBytes } from '../render.ts';

/** Beyond what is kept on purpose: changes that are not applied yet, and chunks on their way. */
const HEADROOM_BYTES = 256 * 1024 ** 2;

export async function checkDataDirectory(dataDir: string, file: MigrationFile): Promise<Finding[]> {
  const existing = await nearestExisting(dataDir);
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch {
    return [
      errorFinding(
        'CF-3001',
        `the data directory ${dataDir} cannot be written: ${existing} refuses it`,
        'Give another one with --data, or change its owner.',
      ),
    ];
  }
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const kept = file.settings.log.retainBytes;
  if (free >= kept + HEADROOM_BYTES) return [];
  const message = `the data directory has ${formatBytes(free)} free; the change log keeps ${formatBytes(kept)} of applied changes and what is not applied yet`;
  return [warningFinding('CF-3001', message, 'Give --data on a larger disk, or lower log.retainBytes in the file.')];
}

async function nearestExisting(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      await access(at, constants.F_OK);
      return at;
    } catch {
      if (at === dirname(at)) return at;
    }
  }
}
