/**
 * Sequences that no column owns or takes its default from: applications call them by name (invoice numbers), and no row tells how far they are. Guarantee: one that both sides have under
 * the same name, in schemas whose tables go to each other, is set on the side that will serve beyond what the other one has handed out; it only ever goes on, and nothing of it stops a flip.
 */
import type pg from 'pg';
import type { SequenceChange, TableName } from '#connectors/fence/fence.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { nextOf, type SequenceNext } from '#schemas/sequence-start.ts';
import { quoteTable } from '#schemas/table.ts';
import { DEFINITION, definitionOf, readPositions, type Sequence, type SequencePosition } from './sequences.ts';
import { handedOutBy, raise } from './set-sequences.ts';

export interface SchemaPair {
  readonly from: string;
  readonly to: string;
}

/** `lacking`: the side that will serve has none of that name. `denied`: one of the roles may not read or set it. */
export type NamedOutlook =
  | { readonly sequence: TableName; readonly state: 'lacking' | 'denied' | 'exhausted' }
  | {
      readonly sequence: TableName;
      readonly state: 'known';
      readonly own: Sequence;
      readonly next: Extract<SequenceNext, { kind: 'next' }>;
    };

const USED = `EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
  OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)`;

const NAMED = `
  SELECT ${DEFINITION}, (${USED})::text AS used
    FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = ANY ($1::text[]) AND c.relpersistence <> 't'
   ORDER BY n.nspname, c.relname`;

interface Named extends Sequence {
  readonly isUsed: boolean;
}

async function readNamed(client: pg.ClientBase, schemas: readonly string[]): Promise<Named[]> {
  const rows = await queryRows(client, NAMED, [schemas]);
  return rows.map((row) => ({ ...definitionOf(row), columns: [], isBusy: false, isOwned: false, isUsed: row['used'] === 'true' }));
}

export interface BothSides {
  readonly from: pg.Client;
  readonly to: pg.Client;
}

/** Changes nothing. */
export async function lookAheadNamed({ from, to }: BothSides, schemas: readonly SchemaPair[]): Promise<NamedOutlook[]> {
  const theirs = (await readNamed(from, [...new Set(schemas.map((pair) => pair.from))])).filter(({ isUsed }) => !isUsed);
  if (theirs.length === 0) return [];
  const own = await readNamed(to, [...new Set(schemas.map((pair) => pair.to))]);
  const outlooks: NamedOutlook[] = [];
  for (const their of theirs) {
    for (const pair of schemas.filter((one) => one.from === their.sequence.schema)) {
      const sequence = { schema: pair.to, name: their.sequence.name };
      const found = own.find((one) => one.sequence.schema === sequence.schema && one.sequence.name === sequence.name);
      if (found === undefined) outlooks.push({ sequence, state: 'lacking' });
      else if (!their.mayRead || !found.mayRead || !found.maySet) outlooks.push({ sequence, state: 'denied' });
      else outlooks.push(await outlookOf({ their: await positioned(from, their), own: await positioned(to, found) }));
    }
  }
  return outlooks;
}

type Positioned = Named & SequencePosition;

async function positioned(client: pg.ClientBase, named: Named): Promise<Positioned> {
  const [position] = await readPositions(client, [named]);
  return { ...named, ...position! };
}

async function outlookOf({ their, own }: { readonly their: Positioned; readonly own: Positioned }): Promise<NamedOutlook> {
  const { sequence } = own;
  // One that nobody ever called needs no room.
  const handedOut = their.isCalled ? handedOutBy({ ...their, isHeld: false }, own) : [];
  const next = nextOf({ ...own, keys: [], handedOut });
  return next.kind === 'next' ? { sequence, state: 'known', own, next } : { sequence, state: 'exhausted' };
}

/** @returns those that went on */
export async function setNamed(sides: BothSides, schemas: readonly SchemaPair[]): Promise<SequenceChange[]> {
  const changes: SequenceChange[] = [];
  for (const one of await lookAheadNamed(sides, schemas)) {
    if (one.state !== 'known' || one.next.next === one.next.was) continue;
    await raise(sides.to, one.own, one.next);
    changes.push({ sequence: one.sequence, columns: [], was: one.next.was, next: one.next.next, highestKey: undefined });
  }
  return changes;
}

/** For a person; those that go on are left out. */
export function describeNamed(outlooks: readonly NamedOutlook[], side: string): string[] {
  const why = {
    lacking: `the ${side} has none of that name`,
    denied: `the ${side}'s may not be read or set (SELECT, UPDATE)`,
    exhausted: 'it has no values left',
  };
  return outlooks.flatMap((one) =>
    one.state === 'known' ? [] : [`${quoteTable(one.sequence)}, which no column uses, is not set: ${why[one.state]}`],
  );
}
