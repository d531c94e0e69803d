/** The fences of both sides behind the flip's port. Guarantee: as connectors/fence says; and what `settle` answers is final. */
import type { FenceOptions, Fences, HeldFence, SequenceValue } from '#connectors/fence/fence.ts';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { settleEpoch } from '#connectors/postgres/journal.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { connect, maskUrl } from '#connectors/postgres/session.ts';
import { otherSinks } from '#schemas/config/wave-file.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import type { FencePort, OpenFence } from '../flip/ports.ts';
import { type FlippedMigration, sequenceStarts } from './flipped-migration.ts';
import { takeTurn } from './wave-turn.ts';

/** Over the budget, so that the server ends only what nobody bounds any more. */
const HOLD_MARGIN_MS = 5_000;
const SETTLE_SETTINGS: Readonly<Record<string, string>> = { synchronous_commit: 'on', statement_timeout: '15000' };

export function fencePort(migration: FlippedMigration, side: Side, fences: Fences = postgresFences): FencePort {
  const { name, urls, settings, tables, swap } = migration;
  const options: FenceOptions = {
    url: urls[side],
    name,
    side,
    exempt: otherSinks(migration.file),
    tables: tables[side],
    servesElsewhere:
      swap === undefined
        ? `the ${otherSide(side)} (${addressOf(urls[otherSide(side)])})`
        : `the tables of the ${otherSide(side)}, which have the names now`,
    lockTimeoutMs: settings.lockTimeoutMs,
    holdMs: settings.blockBudgetMs + HOLD_MARGIN_MS,
    ...(swap !== undefined && { swap: swap[side] }),
  };
  return {
    prepare: async () => void (await fences.prepare(options)),
    open: async (epoch) => openInTurn(migration, options, async () => fences.open(options, epoch)),
    state: async () => (await fences.state(options)).state,
    lift: async (epoch) => void (await fences.lift(options, epoch)),
    settle: async (epoch) => settle(options, epoch, fences),
    setSequences: async (values) => {
      const changes = await fences.setSequences(options, sequenceStarts(migration, side, values as readonly SequenceValue[]));
      return changes.map(({ sequence, was, next }) => ({ sequence: quoteTable(sequence), was: String(was), set: String(next) }));
    },
  };
}

async function openInTurn(
  { file, urls, swap }: FlippedMigration,
  options: FenceOptions,
  open: () => Promise<HeldFence>,
): Promise<OpenFence> {
  const { wave } = file;
  const turn = wave && (await takeTurn({ url: urls.target, name: file.name, wave, holdMs: options.holdMs }));
  try {
    const held = await open();
    // Not waited for: a target that does not answer holds up no decision of the source.
    const ending = async <T>(work: Promise<T>): Promise<T> => work.finally(() => void turn?.end());
    void held.lost.then(() => void turn?.end());
    return {
      lockWaitMs: held.lockWaitMs,
      blockedMs: Date.now() - held.blockedAtMs,
      sequences: async () => held.sequences(),
      commit: async (marker, details) => ending(held.commit({ marker, details })),
      rollback: async () => ending(held.rollback()),
      lost: held.lost,
      ...(swap !== undefined && { reader: held.reader, swapNames: async () => held.swapNames?.() }),
    };
  } catch (error) {
    await turn?.end();
    throw error;
  }
}

/** Host, port and database, for the message to a refused writer: never who connects. */
function addressOf(url: string): string {
  return maskUrl(url)
    .replace(/^[a-z]+:\/\//, '')
    .replace(/^[^@]*@/, '')
    .replace(/\?.*$/, '');
}

async function settle(options: FenceOptions, epoch: bigint, fences: Fences): Promise<'decided' | 'void'> {
  const client = await connect(options.url, {
    applicationName: `crossfade ${options.name} settle`,
    role: options.side,
    settings: SETTLE_SETTINGS,
  });
  try {
    await ensureSchema(client);
    await fences.endSessions(options);
    const row = await settleEpoch(client, { name: options.name, epoch, serves: options.side });
    return row.isVoid ? 'void' : 'decided';
  } finally {
    await client.end().catch(() => undefined);
  }
}
