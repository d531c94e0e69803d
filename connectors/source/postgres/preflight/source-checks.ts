/** All checks of a source, in the order of their report. Each is read-only and runs before anything is created. */
import { checkIdentity } from './identity.ts';
import { checkPublication } from './publication.ts';
import { checkConnectionLimit, checkReadPrivileges, checkReplicationRole, checkRowSecurity } from './role.ts';
import {
  checkCapacity,
  checkEncoding,
  checkRecovery,
  checkReplicationConnection,
  checkVersion,
  checkWalLevel,
  checkWalLimits,
} from './server.ts';
import { checkSlot } from './slot.ts';
import type { SourceCheck } from './source-check.ts';
import { checkActivity, checkNotify, checkObjects } from './unsupported.ts';

export const SOURCE_CHECKS: readonly SourceCheck[] = [
  { name: 'version', run: checkVersion },
  { name: 'primary', run: checkRecovery },
  { name: 'wal_level', isOfStream: true, run: checkWalLevel },
  { name: 'free slot and walsender', isOfStream: true, run: checkCapacity },
  { name: 'WAL limits', isOfStream: true, run: checkWalLimits },
  { name: 'encoding', run: checkEncoding },
  { name: 'replication privilege', isOfStream: true, run: checkReplicationRole },
  { name: 'replication connection', isOfStream: true, run: checkReplicationConnection },
  { name: 'SELECT and USAGE', run: checkReadPrivileges },
  { name: 'row security', run: checkRowSecurity },
  { name: 'connection limit', run: checkConnectionLimit },
  { name: 'keys and replica identity', run: checkIdentity },
  { name: 'publication', isOfStream: true, run: checkPublication },
  { name: 'slot', isOfStream: true, run: checkSlot },
  { name: 'objects outside the stream', run: checkObjects },
  { name: 'NOTIFY', run: checkNotify },
  { name: 'running transactions', isOfStream: true, isOfMoment: true, run: checkActivity },
];
