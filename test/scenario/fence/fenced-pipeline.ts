/**
 * The played pipeline with a fence of the simplest kind: a lock that writers wait for, and a marker that the target has applied. Shares no code with the
 * product's fence.
 */
import { expect } from 'vitest';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import { quoteTable } from '#schemas/table.ts';
import { beginFenceCompare, type FenceCompare } from '#services/reconciler/fence/fence-compare.ts';
import type { FenceLimits } from '#services/reconciler/fence/fence-limits.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { openSession } from '#test/support/application.ts';
import { play, type Played, type PlayOptions } from '../verify/played-pipeline.ts';

export interface TestFence extends AsyncDisposable {
  readonly marker: Lsn;
}

export interface FencedPipeline extends Played {
  begin(limits?: Partial<FenceLimits>): Promise<FenceCompare>;
  /** Locks, then waits until the target shows all that was written before. Let go when disposed of. */
  fence(): Promise<TestFence>;
}

const NAME = 'played';

export async function fencedPipeline(options: Omit<PlayOptions, 'name'>): Promise<FencedPipeline> {
  const played = await play({ ...options, name: NAME });
  await played.follow();
  return {
    ...played,
    begin: async (limits = {}) => {
      const tables = options.tables ?? '  - from: public.*\n';
      const head = `crossfade: 1\nname: ${NAME}\nsource: { postgres: "${played.sourceUrl}" }\ntarget: { postgres: "${played.targetUrl}" }\ntables:\n`;
      const { file } = readMigrationFile({ path: 'test.yaml', text: head + tables, env: {} });
      return beginFenceCompare({ file: file!, mapping: played.mapping, logger: silentLogger, limits });
    },
    fence: async () => fence(played),
  };
}

async function fence({ sourceUrl, target, mapping }: Played): Promise<TestFence> {
  const session = await openSession(sourceUrl);
  await session.query('BEGIN');
  await session.query(`LOCK TABLE ${mapping.tables.map(({ from }) => quoteTable(from)).join(', ')} IN SHARE ROW EXCLUSIVE MODE`);
  await using other = await openSession(sourceUrl);
  const [row] = await other.query(`SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', '{"kind":"heartbeat"}')::text AS lsn`);
  const marker = parseLsn(row!['lsn']!);
  await expect
    .poll(
      async () =>
        (await target.query('SELECT FROM crossfade.progress WHERE name = $1 AND applied_lsn >= $2::pg_lsn', [NAME, row!['lsn']])).rowCount,
      { timeout: 30_000, interval: 1 },
    )
    .toBe(1);
  return { marker, [Symbol.asyncDispose]: async () => session[Symbol.asyncDispose]() };
}
