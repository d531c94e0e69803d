/**
 * Sets the sequences of the side that will serve. Guarantee: none of them hands out a value that the other side has handed out or that a row
 * has as its key, nor goes back, also while others call it; each keeps to its own step and range.
 */
import type pg from 'pg';
import type { ColumnName, FenceOptions, SequenceChange, SequenceStart, SequenceValue, TableName } from '#connectors/fence/fence.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { nextOf, type SequenceNext } from '#schemas/sequence-start.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { readPositions, readSequences, type Sequence, type SequencePosition } from './sequences.ts';
import { withSession } from './session.ts';
import { readCarriers } from './triggers.ts';

/**
 * Values left out beyond the last one that was handed out. Whoever waits in nextval while the fence is up gets one after it, and may bring it along
 * to the other side; a sequence that could not be held goes on meanwhile.
 */
const MARGIN_HELD = 32n;
const MARGIN_UNHELD = 1_000n;

type Place = Pick<FenceOptions, 'url' | 'name' | 'side' | 'swap'>;

/** @throws PipelineError CF-8106, CF-8102 */
export async function setSequences(options: Place, starts: readonly SequenceStart[]): Promise<SequenceChange[]> {
  return withSession(options, 'followed by its sequences', async (client) => {
    const found = await readSequences(client, tablesOf(starts));
    const positions = await readPositions(client, found);
    const changes: SequenceChange[] = [];
    for (const [i, one] of found.entries()) {
      const wanted = starts.filter(({ column }) => one.columns.some((own) => isSame(own, column)));
      // One that both sides take their values from goes on by itself, and is held while the names are swapped.
      const isShared =
        options.swap !== undefined && wanted.some(({ from }) => from !== undefined && isSameTable(from.sequence, one.sequence));
      if (wanted.length > 0 && !isShared)
        changes.push(await setOne(client, { side: options.side, own: one, position: positions[i]!, wanted }));
    }
    return changes;
  });
}

/**
 * Where the other side cannot be asked: each goes on beyond the highest key that came from there, and leaves out what rows that did not come may have, so that they keep keys of
 * their own. Done again it changes nothing. @returns names of those whose columns tell no key
 */
export async function setBeyondKeys(
  options: Place,
): Promise<{ readonly set: readonly SequenceChange[]; readonly untold: readonly string[] }> {
  return withSession(options, 'followed by its sequences', async (client) => {
    const roots = (await readCarriers(client, options)).filter(({ isPartition }) => !isPartition);
    const found = await readSequences(client, roots);
    const positions = await readPositions(client, found);
    const [set, untold]: [SequenceChange[], string[]] = [[], []];
    for (const [i, own] of found.entries()) {
      const keys = await Promise.all(own.columns.map(async (column) => outermostKey(client, column, own.increment > 0n)));
      const wanted = own.columns.flatMap((column, at): SequenceStart[] => {
        const key = keys[at];
        return key === undefined ? [] : [{ column, from: { ...own, lastValue: key, isCalled: true, isHeld: false } }];
      });
      if (wanted.length === 0) untold.push(quoteTable(own.sequence));
      else set.push(await setOne(client, { side: options.side, own, position: positions[i]!, wanted }));
    }
    return { set, untold };
  });
}

function tablesOf(starts: readonly SequenceStart[]): TableName[] {
  return [...new Map(starts.map(({ column: { schema, name } }) => [quoteTable({ schema, name }), { schema, name }])).values()];
}

function isSame(a: ColumnName, b: ColumnName): boolean {
  return isSameTable(a, b) && a.column === b.column;
}

function isSameTable(a: TableName, b: TableName): boolean {
  return a.schema === b.schema && a.name === b.name;
}

interface One {
  readonly side: string;
  readonly own: Sequence;
  readonly position: SequencePosition;
  readonly wanted: readonly SequenceStart[];
}

/** Where sequences would go on if they were set now. Changes nothing. */
export interface SequenceOutlook {
  readonly own: Sequence;
  readonly wanted: readonly SequenceStart[];
  readonly result: SequenceNext;
}

export async function lookAhead(client: pg.Client, starts: readonly SequenceStart[]): Promise<SequenceOutlook[]> {
  const found = await readSequences(client, tablesOf(starts));
  const positions = await readPositions(client, found);
  const outlooks: SequenceOutlook[] = [];
  for (const [i, own] of found.entries()) {
    const wanted = starts.filter(({ column }) => own.columns.some((one) => isSame(one, column)));
    if (wanted.length > 0) outlooks.push({ own, wanted, ...(await nextFor(client, { own, position: positions[i]!, wanted })) });
  }
  return outlooks;
}

async function nextFor(
  client: pg.Client,
  { own, position, wanted }: Omit<One, 'side'>,
): Promise<{ readonly result: SequenceNext; readonly keys: readonly bigint[] }> {
  const isUp = own.increment > 0n;
  const keys: bigint[] = [];
  for (const { column } of wanted) {
    const key = guarded('sequence-keys') ? await outermostKey(client, column, isUp) : undefined;
    if (key !== undefined) keys.push(key);
  }
  const handedOut = wanted.flatMap(({ from }) => (from === undefined ? [] : handedOutBy(from, own)));
  return { result: nextOf({ ...own, ...position, keys, handedOut }), keys };
}

/** One whose values sessions keep in stock is held first: whoever calls it waits, and then forgets its stock. Where that may not be, it is only set ahead. */
async function setOne(client: pg.Client, one: One): Promise<SequenceChange> {
  const { own } = one;
  if (own.cache === 1n || !own.mayAlter) return setTo(one, await nextFor(client, one), async (next) => raise(client, own, next));
  const name = quoteTable(own.sequence);
  await client.query(`BEGIN; ALTER SEQUENCE ${name} CACHE ${own.cache}`);
  try {
    const [position] = await readPositions(client, [own]);
    const held = { ...one, position: position! };
    const change = await setTo(held, await nextFor(client, held), async ({ next }) => {
      await client.query(`ALTER SEQUENCE ${name} RESTART WITH ${next}`);
    });
    await client.query('COMMIT');
    return change;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

type Way = Extract<SequenceNext, { readonly kind: 'next' }>;

async function setTo(
  { side, own }: One,
  { result, keys }: Awaited<ReturnType<typeof nextFor>>,
  set: (way: Way) => Promise<void>,
): Promise<SequenceChange> {
  const isUp = own.increment > 0n;
  if (result.kind === 'exhausted')
    throw new PipelineError(
      'CF-8106',
      `the sequence ${quoteTable(own.sequence)} of the ${side} would have to go on at ${result.beyond}, outside of its range ${own.min} to ${own.max}`,
    );
  await set(result);
  const highestKey = keys.length === 0 ? undefined : keys.reduce((a, b) => (a > b === isUp ? a : b));
  return { sequence: own.sequence, columns: own.columns, was: result.was, next: result.next, highestKey };
}

/** The last value that the other side's sequence may have given to somebody, with its margin. */
export function handedOutBy(from: SequenceValue, own: Sequence): { readonly last: bigint; readonly margin: bigint }[] {
  // One that counts the other way says nothing of where ours is: its keys do.
  if (from.increment > 0n !== own.increment > 0n) return [];
  const last = from.isCalled ? from.lastValue : from.lastValue - from.increment;
  const calls = guarded('sequence-margin') ? (from.isHeld ? MARGIN_HELD : MARGIN_UNHELD) : 0n;
  return [{ last, margin: calls * from.increment * from.cache }];
}

/** Undefined: the column is empty, holds no integers, or has no index that tells it at once. */
async function outermostKey(client: pg.Client, column: ColumnName, isUp: boolean): Promise<bigint | undefined> {
  const indexed = await queryRow(
    client,
    `SELECT 1 AS found FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $3
       JOIN pg_index i ON i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
       JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
      WHERE n.nspname = $1 AND c.relname = $2 AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) LIMIT 1`,
    [column.schema, column.name, column.column],
  );
  if (indexed === undefined) return undefined;
  const row = await queryRow(
    client,
    `SELECT ${isUp ? 'max' : 'min'}(${quoteIdent(column.column)})::text AS key FROM ${quoteTable(column)}`,
  );
  const key = row?.['key'] ?? undefined;
  return key === undefined ? undefined : BigInt(key);
}

/** Values that are taken one by one rather than passed over; some milliseconds. */
const CALLS_MAX = 10_000n;

/**
 * Others may call it meanwhile: tenants whose wave has moved write to the side that is going to serve. So it is never set to a place that they may have passed since it was
 * looked at. A short way is gone by calling it, as they do; over a long one nobody gets within a statement.
 */
export async function raise(client: pg.Client, own: Sequence, { was, next }: Way): Promise<void> {
  const name = quoteTable(own.sequence);
  const calls = (next - was) / own.increment;
  if (calls <= 0n) return;
  if (own.cache === 1n && calls <= CALLS_MAX) {
    await client.query('SELECT count(nextval($1::regclass)) FROM generate_series(1, $2::int)', [name, String(calls)]);
    return;
  }
  const isBehind = own.increment > 0n ? 'last_value < $2::bigint' : 'last_value > $2::bigint';
  await client.query(`SELECT setval($1::regclass, $2::bigint, false) FROM ${name} WHERE ${isBehind}`, [name, String(next)]);
}
