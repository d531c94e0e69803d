/** All checks of a target, in the order of their report. */
import { checkForeignKeys, checkTriggers } from './constraints.ts';
import { checkExistingRows, checkStateSchema, checkTablePrivileges, checkTargetRowSecurity } from './privileges.ts';
import { checkTargetEncoding, checkTargetServer } from './server.ts';
import { checkSurrogateKeys } from './surrogate-keys.ts';
import type { TargetCheck } from './target-check.ts';

export const TARGET_CHECKS: readonly TargetCheck[] = [
  { name: 'server', run: checkTargetServer },
  { name: 'encoding and collation', run: checkTargetEncoding },
  { name: 'table privileges', run: checkTablePrivileges },
  { name: 'schema crossfade and temporary tables', run: checkStateSchema },
  { name: 'sequences of surrogate keys', run: checkSurrogateKeys },
  { name: 'row security', run: checkTargetRowSecurity },
  { name: 'foreign keys', run: checkForeignKeys },
  { name: 'triggers', run: checkTriggers },
  { name: 'existing rows', run: checkExistingRows },
];
