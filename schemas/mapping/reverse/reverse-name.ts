/**
 * The name of the reverse direction: of its slot and publication on the target, of its progress on the source, and of the replication
 * origin that its sink has there. Guarantee: as long as a name may be, and different for different migrations.
 */
import { createHash } from 'node:crypto';
import { NAME_LENGTH_MAX } from '#schemas/config/file-terms.ts';

const SUFFIX = '_reverse';
const DIGEST_LENGTH = 8;

export function reverseName(name: string): string {
  if (name.length + SUFFIX.length <= NAME_LENGTH_MAX) return name + SUFFIX;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, DIGEST_LENGTH);
  return `${name.slice(0, NAME_LENGTH_MAX - SUFFIX.length - DIGEST_LENGTH - 1)}_${digest}${SUFFIX}`;
}
