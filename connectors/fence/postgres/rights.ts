/**
 * What a role lacks to raise and lift a fence on one side, and to set its sequences. Guarantee: read-only; everything at once, each with the SQL that gives it.
 */
import type pg from 'pg';
import type { FenceOptions, Side } from '#connectors/fence/fence.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { listNames } from '#schemas/finding.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { readSequences, type Sequence } from './sequences.ts';
import { type Fenced, type Member, readMembers } from './triggers.ts';

export interface MissingRight {
  /** `the source role x does not …` */
  readonly message: string;
  readonly remedy: string;
}

export interface RightsAsked extends Fenced, Pick<FenceOptions, 'tables'>, RightsFor {}

/** What is done on a side; its sequences are read in any case. */
export interface RightsFor {
  readonly isFenced: boolean;
  readonly setsSequences: boolean;
}

/** A side is fenced when writes leave it, and its sequences are set when they come: of the two ends of a flip, and of the flip back where there is one. */
export function rightsFor(side: Side, { leaves, goesBack }: { readonly leaves: Side; readonly goesBack: boolean }): RightsFor {
  return { isFenced: goesBack || side === leaves, setsSequences: goesBack || side !== leaves };
}

const SHOWN = 8;

export async function missingRights(client: pg.ClientBase, asked: RightsAsked): Promise<MissingRight[]> {
  const members = asked.isFenced ? await readMembers(client, { ...asked, servesElsewhere: '' }) : [];
  return missingFor(client, asked, { members, sequences: await readSequences(client, asked.tables) });
}

interface Found {
  readonly members: readonly Member[];
  readonly sequences: readonly Sequence[];
}

/** As `missingRights`, of what was read already. */
export async function missingFor(
  client: pg.ClientBase,
  { side, setsSequences }: Pick<RightsAsked, 'side' | 'setsSequences'>,
  { members, sequences }: Found,
): Promise<MissingRight[]> {
  const foreign = members.filter(({ mayAlter }) => !mayAlter);
  const owners = new Set(foreign.map(({ owner }) => owner));
  // Whoever may do what their owner may, may set them.
  const unset = sequences
    .filter(({ mayRead, maySet, owner }) => !(mayRead && (maySet || !setsSequences)) && !owners.has(owner))
    .map(({ sequence }) => quoteTable(sequence));
  if (foreign.length + unset.length === 0) return [];
  const role = quoteIdent((await queryRow(client, 'SELECT current_user AS role'))!['role']!);
  const missing: MissingRight[] = [];
  if (foreign.length > 0)
    missing.push({
      message: `the ${side} role ${role} does not own ${listNames(foreign.map(quoteTable), SHOWN)}: only an owner may put a fence's triggers to sleep again`,
      remedy: [...owners]
        .toSorted()
        .map((owner) => `GRANT ${quoteIdent(owner)} TO ${role};`)
        .join(' '),
    });
  if (unset.length > 0)
    missing.push({
      message: `the ${side} role ${role} may not ${setsSequences ? 'read and set' : 'read'} ${listNames(unset, SHOWN)}`,
      remedy: `GRANT ${setsSequences ? 'SELECT, UPDATE' : 'SELECT'} ON SEQUENCE ${unset.join(', ')} TO ${role};`,
    });
  return missing;
}
