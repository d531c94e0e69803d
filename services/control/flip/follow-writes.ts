/** Reads that the file sends along with the writes. Guarantee: rules that somebody set are given up only where the file says so. */
import type { CutoverEntry } from '#schemas/config/migration-file.ts';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import type { RulesChange } from '#schemas/flags/read-rules.ts';

export interface RulesRecord {
  read(): Promise<Pick<FlagDocument, 'rules'>>;
  change(change: {
    readonly change: RulesChange;
    readonly actor: string;
    readonly reason: string;
    readonly freshSalt: string;
  }): Promise<unknown>;
  close(): Promise<void>;
}

/** Whoever serves the flags reads the state row: without rules there is nothing to do. */
export async function followWrites(
  { reads }: Pick<CutoverEntry, 'reads'>,
  open: () => RulesRecord,
  { by, freshSalt }: { readonly by: string; readonly freshSalt: string },
): Promise<void> {
  if (reads !== 'with-writes') return;
  const record = open();
  try {
    const { rules } = await record.read();
    if (rules === undefined || rules.followsWrites) return;
    await record.change({ change: { kind: 'follow-writes' }, actor: by, reason: 'the file says reads: with-writes', freshSalt });
  } finally {
    await record.close();
  }
}
