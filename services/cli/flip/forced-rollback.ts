/**
 * `rollback --forced`: the target is lost, and the source serves again without what had not come back. Guarantee: never without the name typed by hand, never while
 * the target answers; what is left behind is told before anything else, and the decision is a row of the source's journal, as that of any flip. From that COMMIT on nothing of
 * what is left behind comes to the source by itself, be it that the log of `crossfade up` still has it or that the target is back: it would overwrite what applications write now.
 */
import type pg from 'pg';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { setBeyondKeys } from '#connectors/fence/postgres/set-sequences.ts';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { type GivenUp, giveUpPlace, readPlace } from '#connectors/target/postgres/give-up-place.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { type Finding, messageOf, PipelineError } from '#schemas/errors.ts';
import { listNames, warningFinding } from '#schemas/finding.ts';
import { swapsNames } from '#schemas/mapping/renames.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { lastDecision } from '#schemas/migration/recovery.ts';
import { accountName } from '../account-name.ts';
import type { CommandContext, Outcome } from '../command.ts';
import { waveOption } from '../migration-input.ts';

const CONNECT_MS = 5_000;

interface LeftBehind {
  /** Of the target: everything below it is on the source. Null: nothing ever came back. */
  readonly lastReversedLsn: string | null;
  /** When the last of it was committed on the target. */
  readonly lastReversedAt: string | null;
  /** The way back was begun anew there: what is below it came back only where it was repaired. */
  readonly gapLsn: string | null;
  readonly until: string;
}

/** @throws PipelineError CF-8309, CF-8312 */
export async function forceRollback(file: MigrationFile, { options }: CommandContext): Promise<Outcome> {
  const { name } = file;
  // It lifts a fence and moves no names: nothing could be written by any.
  if (swapsNames(file)) {
    throw new PipelineError('CF-8312', 'source and target are tables of one database: it cannot be lost on one side only', {
      remedy: 'Use crossfade rollback: it gives the names back.',
    });
  }
  const client = await connect(file.source.postgres, {
    applicationName: `crossfade ${name} forced rollback`,
    role: 'source',
    settings: { synchronous_commit: 'on', lock_timeout: '5000' },
  });
  try {
    const rows = await readJournalRows(client, name);
    const last = lastDecision({ source: rows, target: [] });
    const isForced = last?.serves === 'source' && rows.some(({ epoch, marker }) => epoch === last.epoch && marker === 'forced');
    const fence = {
      url: file.source.postgres,
      name,
      side: 'source',
      tables: [],
      servesElsewhere: '',
      lockTimeoutMs: 1_000,
      holdMs: 10_000,
    } as const;
    if (last === undefined || (last.serves === 'source' && !isForced))
      throw new PipelineError('CF-8312', `by the source's journal the source serves ${name} already`);
    const why = await lossOfTarget(postgresTarget(file, 'rollback'));
    const left = await leftBehind(client, await readPlace(client, reverseName(name)));
    if (options.text('confirm') !== name) {
      throw new PipelineError('CF-8309', `a forced rollback leaves behind ${described(left)}`, {
        remedy: `If the target will not come back: crossfade rollback${waveOption(file)} --forced --confirm ${name}`,
        details: { left },
      });
    }
    // Before the decision, and whatever comes of it: they only go on.
    const sequences = await aheadOfKeys(fence);
    // Given again after a crash, it only lifts what stands.
    const decided = isForced ? { epoch: last.epoch, left } : await decide(client, name, options.text('by') ?? accountName());
    await postgresFences.lift(fence, decided.epoch);
    return outcomeOf(name, { ...decided, why, sequences });
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface Forced {
  readonly epoch: bigint;
  readonly left: LeftBehind;
  readonly why: string;
  readonly sequences: readonly Finding[];
}

function outcomeOf(name: string, { epoch, left, why, sequences }: Forced): Outcome {
  return {
    summary: `${name}: the source serves (epoch ${epoch}), without ${described(left)}`,
    result: { outcome: 'forced', serves: 'source', epoch: String(epoch), left, targetLost: why },
    findings: [warningFinding('CF-8313', `left behind: ${described(left)}`), ...sequences],
    text: 'Next: keep applications from the target. When it is back, crossfade up fences it and brings it to the state of the source again.\n',
  };
}

/** Rows came back with keys that the source's sequences know nothing of. */
async function aheadOfKeys(fence: Parameters<typeof setBeyondKeys>[0]): Promise<Finding[]> {
  const told = (what: string): Finding[] => [
    warningFinding('CF-8332', what, 'Set them beyond what the target has handed out (setval), before applications write here.'),
  ];
  try {
    const { untold } = await setBeyondKeys(fence);
    return untold.length === 0 ? [] : told(`no key tells how far these sequences of the source are to go on: ${listNames(untold, 5)}`);
  } catch (error) {
    return told(`sequences of the source were not set beyond the keys that came back: ${messageOf(error)}`);
  }
}

/** Why it cannot be reached. @throws PipelineError CF-8312 when it can */
async function lossOfTarget(url: string): Promise<string> {
  let client: pg.Client;
  try {
    client = await connect(url, { applicationName: 'crossfade forced rollback', role: 'target', connectTimeoutMs: CONNECT_MS });
  } catch (error) {
    return messageOf(error);
  }
  await client.end().catch(() => undefined);
  throw new PipelineError('CF-8312', 'the target answers: nothing has to be left behind');
}

async function leftBehind(client: pg.ClientBase, place: GivenUp): Promise<LeftBehind> {
  const row = await queryRow(client, `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS now`);
  return { lastReversedLsn: place.appliedLsn, lastReversedAt: place.committedAt, gapLsn: place.gapLsn, until: row!['now']! };
}

function described({ lastReversedLsn, lastReversedAt, gapLsn, until }: LeftBehind): string {
  if (lastReversedLsn === null) return `everything that was written on the target until ${until}: nothing of it ever came back`;
  const gap =
    gapLsn === null
      ? ''
      : `, and what the way back missed before it was begun anew at ${gapLsn}, unless crossfade repair has copied it since`;
  return `what was committed on the target behind ${lastReversedLsn}${lastReversedAt === null ? '' : ` (${lastReversedAt})`}, until ${until}${gap}`;
}

/** What is left behind is as of this very COMMIT. */
async function decide(client: pg.Client, name: string, by: string): Promise<{ readonly epoch: bigint; readonly left: LeftBehind }> {
  await client.query('BEGIN');
  try {
    const left = await leftBehind(client, await giveUpPlace(client, reverseName(name)));
    const row = await queryRow(
      client,
      `INSERT INTO crossfade.journal (name, epoch, serves, marker, details)
       SELECT $1, max(epoch) + 1, 'source', 'forced', $2::jsonb FROM crossfade.journal WHERE name = $1 RETURNING epoch::text AS epoch`,
      [name, JSON.stringify({ forced: true, left, by })],
    );
    await client.query('COMMIT');
    return { epoch: BigInt(row!['epoch']!), left };
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
