/** What the running instance's own comparison has come to, in words. Guarantee: rows that differ are never told in the same colour as none. */
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { readOpenFindings } from '#connectors/target/postgres/reconcile-record.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, listNames, warningFinding } from '#schemas/finding.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import { openKeptFindings } from '#services/runtime/kept-findings.ts';
import type { Paint } from '../paint.ts';
import { formatCount } from '../render.ts';

/** A line for each target that is compared. */
export function describeReconciliation({ reconciliation, targets }: StatusResult, paint: Paint): string[] {
  if (reconciliation !== undefined) return [describe(reconciliation, paint)];
  return (targets ?? []).flatMap((target) =>
    target.reconciliation === undefined ? [] : [`${target.name}: ${describe(target.reconciliation, paint)}`],
  );
}

function describe(
  {
    silent,
    proved,
    provedSince,
    comparisons,
    suspected,
    confirmed,
    repairing,
    inconclusive,
    checks,
    queries,
    stream,
  }: ReconciliationStatus,
  paint: Paint,
): string {
  if (silent) return 'silent while the target serves: crossfade verify compares the other way';
  if (comparisons === 0) return 'nothing compared yet';
  const share = proved === null ? 'no rows' : `${percent(proved)} of the rows equal when last compared`;
  const since = provedSince === null ? '' : `, all of them since ${provedSince}`;
  const differ = confirmed + suspected + repairing;
  const open = `${formatCount(differ)} rows differ (${formatCount(confirmed)} confirmed, ${formatCount(suspected)} suspected, ${formatCount(repairing)} in repair)`;
  return [
    `${share}${since}`,
    ...(differ > 0 ? [paint.red(open)] : []),
    ...(inconclusive > 0 ? [paint.yellow(`${formatCount(inconclusive)} not judged`)] : []),
    ...describeChecks(checks, 'checks', paint),
    ...describeChecks(queries, 'shadow queries', paint),
    ...describeStream(stream, paint),
  ].join('; ');
}

function describeChecks(made: ReconciliationStatus['checks'], what: string, paint: Paint): string[] {
  if (made === undefined) return [];
  const { declared, equal, differing, inconclusive, madeAt } = made;
  if (madeAt === null) return [`${what} not made yet`];
  return [
    `${equal} of ${declared} ${what} equal at ${madeAt}`,
    ...(differing.length > 0 ? [paint.red(`${listNames(differing)} ${differing.length === 1 ? 'differs' : 'differ'}`)] : []),
    ...(inconclusive > 0 ? [paint.yellow(`${inconclusive} not judged`)] : []),
  ];
}

function describeStream(stream: ReconciliationStatus['stream'], paint: Paint): string[] {
  if (stream === undefined || stream.comparedAt === null) return [];
  const { sourceLog, logTarget, unjudged } = stream;
  const told = [
    [sourceLog, 'the log is what the source did', 'the log is not what the source did'],
    [logTarget, 'the target is what the log makes', 'the target is not what the log makes'],
  ] as const;
  return [
    ...told.map(([{ equal, differing, inconclusive }, so, not]) =>
      differing.length > 0 ? paint.red(`${not}: ${listNames(differing)}`) : `${so} in ${equal} of ${equal + inconclusive} tables`,
    ),
    ...unjudged.map(({ from, why }) => `not held against the log: ${from} (${why})`),
  ];
}

/** Rounded down: all is 100 % only when it is all. */
function percent(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}

const SHOWN = 20;
/** Of one target; `status` counts all of them beside. */
const READ_MAX = 1_000;

/** Rows that are known to differ, of all targets, as far as they can be reached. */
export async function findingsOf(file: MigrationFile, dataDir: string): Promise<Finding[]> {
  const ofTargets = targetFiles(file).map(async (view) => {
    const url = view.target.postgres;
    const read = async (): Promise<readonly DriftFinding[]> =>
      url === undefined ? openKeptFindings(dataDir, view.targetName).slice(0, READ_MAX) : readOpenFindings(url, file.name, READ_MAX);
    return (await read().catch(() => [])).map((one) => nameOf(one, view.targetName));
  });
  const named = (await Promise.all(ofTargets)).flat();
  if (named.length <= SHOWN) return named;
  return [
    ...named.slice(0, SHOWN),
    errorFinding(
      'CF-6001',
      `and ${named.length < READ_MAX ? '' : 'at least '}${formatCount(named.length - SHOWN)} more`,
      'crossfade repair',
    ),
  ];
}

function nameOf({ to, key, kind, columns, rows, state, from }: DriftFinding, target: string | undefined): Finding {
  const what =
    key === null
      ? `${formatCount(rows)} rows`
      : Object.entries(key)
          .map(([name, value]) => `${name} ${value ?? 'NULL'}`)
          .join(', ');
  const where = target === undefined ? to : `${target}: ${to}`;
  const message = `${where}, ${what}: ${kind}${columns.length > 0 ? ` in ${listNames(columns)}` : ''} (${state})`;
  return state === 'suspected'
    ? warningFinding('CF-6001', message, 'It is compared again; wait for the next round.')
    : errorFinding('CF-6001', message, `crossfade repair --table ${from}`);
}
