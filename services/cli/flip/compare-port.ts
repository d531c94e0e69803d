/** The comparison at the fence behind the flip's port, in either direction. Guarantee: what could not be judged is not called clean. */
import type { Client } from 'pg';
import { count } from '#schemas/document/blocks.ts';
import { PipelineError } from '#schemas/errors.ts';
import { listNames } from '#schemas/finding.ts';
import { parseLsn } from '#schemas/lsn.ts';
import { type ComparedDirection, servingDirection } from '#schemas/reconcile/serving-direction.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { ComparePort, CompareVerdict } from '#services/control/flip/ports.ts';
import type { FlippedMigration } from '#services/control/postgres/flipped-migration.ts';
import { beginFenceCompare } from '#services/reconciler/fence/fence-compare.ts';
import type { Logger } from '#services/runtime/service.ts';

/** Of a key, both rows read and held against each other; and what comes on top. Deliberately high. */
const KEY_MS = 0.3;
const AROUND_MS = 60;

export function comparePort(migration: FlippedMigration, logger: Logger): ComparePort {
  const direction = (from: 'source' | 'target'): ComparedDirection => {
    const found = servingDirection(migration, migration.reverse, from);
    if (found === undefined) throw new PipelineError('CF-8324', 'nothing of this migration goes back');
    return found;
  };
  return {
    begin: async (from, signal) => {
      const { file, mapping, targetRows } = direction(from);
      const compare = await beginFenceCompare({ file, mapping, targetRows, logger, signal });
      return {
        before: verdictOf(compare.before),
        refresh: async () => {
          await compare.refresh();
          return { keys: compare.keys, predictedMs: AROUND_MS + compare.keys * KEY_MS };
        },
        finish: async ({ lsn }, _signal, reader) => {
          const source = reader as Client | undefined;
          const result = await compare.finish({ marker: parseLsn(lsn), ...(source && { source }) });
          return verdictOf(result, result.keys);
        },
        close: async () => compare.close(),
      };
    },
  };
}

function verdictOf(result: VerifyResult, keys?: number): CompareVerdict {
  const { differences, inconclusive, tables, at } = result;
  const rows = tables.reduce((sum, { rowsSource }) => sum + rowsSource, 0);
  const open = tables.filter((table) => table.inconclusive !== undefined);
  const differing = tables.filter(({ missing, extra, different }) => missing + extra + different > 0).map(({ to }) => to);
  const what = keys === undefined ? `${count(tables.length, 'table')}, ${count(rows, 'row')}` : `${count(keys, 'key')} that had changed`;
  const verdicts = [
    ...(differences > 0 ? [`${differences} differences in ${listNames(differing)}`] : []),
    ...open.map(({ to, inconclusive: why }) => `${to} not judged: ${why!.message}`),
  ];
  const figures = tables.map(({ from, to, rowsSource, rowsTarget, missing, extra, different }) => ({
    from,
    to,
    rowsSource,
    rowsTarget,
    missing,
    extra,
    different,
  }));
  return {
    clean: differences === 0 && inconclusive === 0,
    differs: differences > 0,
    summary: verdicts.length === 0 ? `${what}: equal` : `${what}: ${verdicts.join('; ')}`,
    report: { lsn: at.lsn, differences, inconclusive, ...(keys !== undefined && { keys }), tables: figures },
  };
}
