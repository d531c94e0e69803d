/**
 * `test`: the tests of the mapping, without a server; `test --record N`: live rows as tests. Guarantee: every fault of every test at once,
 * with its place; what the mapping claims to be undone is undone, on the rows of the tests and on random ones.
 */
import { bySeverity } from '#schemas/finding.ts';
import { errorOf } from '#schemas/envelope.ts';
import { catalogue } from '#schemas/error-catalogue.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { invertMapping, type TableInverse } from '#schemas/mapping/inverse/invert-table.ts';
import { randomRoundTrips, roundTrip, type RoundTripFault } from '#schemas/mapping/inverse/round-trip.ts';
import { runMappingTests, type TestResult } from '#schemas/mapping/run-tests.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { eachTarget } from './each-target.ts';
import { loadTargets, type MigrationInput, targetOption } from './migration-input.ts';
import { compileWith, keepCatalogues, replaceFile, textAt } from './test/kept-catalogues.ts';
import { loadTests, mappingFrom, readTests, testsPath, type TestBench } from './test/load-tests.ts';
import { disguiseKey, recordRows } from './test/record-rows.ts';
import { appendTests } from './test/write-tests.ts';
import { cataloguePath } from '#schemas/config/catalogue-file.ts';

const ROWS_MAX = 1000;
/** Of each table; some milliseconds. */
const RANDOM_ROWS = 200;
const SEED_MAX = 0x7fff_ffff;

export const testCommand: CommandSpec = {
  name: 'test',
  about: 'Run the tests of the mapping, without a server.',
  examples: [
    ['crossfade test', 'tests: of the file, and the file of tests beside it'],
    ['crossfade test --record 0', 'write the catalogues that the tests need, from the servers'],
    ['crossfade test --record 20', 'and 20 rows of each table as tests, personal data in disguise'],
  ],
  configure: (command) => {
    targetOption(command);
    command
      .option('--record <rows>', 'write the catalogues, and so many rows of each source table as tests')
      .option('--seed <number>', 'of the random rows; printed, to see the same again');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const rows = wholeOption(context, 'record', ROWS_MAX);
  const { targets, path, dataDir } = await loadTargets(context, { offline: rows === undefined });
  return eachTarget(targets, async (file) =>
    rows === undefined ? runTests(context, { file, path }) : record({ file, path, dataDir }, rows),
  );
}

function wholeOption({ options }: CommandContext, name: string, max: number): number | undefined {
  const text = options.text(name);
  if (text === undefined) return undefined;
  if (/^\d{1,10}$/.test(text) && Number(text) <= max) return Number(text);
  throw new PipelineError('CF-1007', `--${name} takes a whole number from 0 to ${max}`);
}

async function record({ file, path, dataDir }: MigrationInput, rowsPerTable: number): Promise<Outcome> {
  const catalogues = await keepCatalogues(file, path);
  const written = cataloguePath(file.path, file.targetName);
  const beside = testsPath(file.path, file.targetName);
  if (rowsPerTable === 0)
    return { summary: `${written} is written; commit it beside the file`, result: { catalogue: written, recorded: 0 } };
  const mapping = mappingFrom(compileWith(file, catalogues));
  const known = [...(file.tests ?? []), ...(await readTests(file, path))];
  const key = await disguiseKey(dataDir);
  const { rows, disguised } = await recordRows({ url: file.source.postgres, mapping, source: catalogues.source, rowsPerTable, key });
  const place = testsPath(path, file.targetName);
  const { text, added } = appendTests(await textAt(place), known, rows);
  if (added > 0) await replaceFile(place, text);
  const summary = `${added} rows are in ${beside}: read what is expected of them, and that nothing personal is left, before you commit it`;
  const shown = disguised.length === 0 ? '' : `In disguise:\n${disguised.map((name) => `  ${name}\n`).join('')}`;
  return { summary, result: { catalogue: written, tests: beside, recorded: added, disguised }, text: shown };
}

async function runTests(
  context: CommandContext,
  { file, path }: { readonly file: MigrationFile; readonly path: string },
): Promise<Outcome> {
  const bench = await loadTests(file, path);
  const seed = wholeOption(context, 'seed', SEED_MAX) ?? Math.floor(Math.random() * SEED_MAX);
  const started = performance.now();
  const results = runMappingTests(bench.tests, bench.mapping, bench.catalogues.source);
  const inverses = invertMapping(bench.mapping.tables, bench.catalogues.source);
  const undone = inverses.map((inverse) => undo(inverse, results, bench, seed));
  const ms = Math.round(performance.now() - started);
  const failed = results.filter(({ faults }) => faults.length > 0).length;
  const findings = bySeverity([...results.flatMap(({ faults }) => faults), ...undone.flatMap((one) => one.findings)]);
  const tests = `${results.length} ${results.length === 1 ? 'test' : 'tests'}`;
  const summary = failed === 0 ? `${tests} passed in ${ms} ms` : `${failed} of ${tests} failed`;
  const [first] = findings;
  return {
    summary: first !== undefined && failed === 0 ? `${tests} passed, but a row did not come back as it went` : summary,
    result: {
      tests: results.map(({ test, faults }) => ({
        name: test.name,
        from: test.from,
        path: test.path,
        line: test.line,
        ok: faults.length === 0,
      })),
      passed: results.length - failed,
      failed,
      seed,
      inverse: undone.map(({ findings: _findings, ...one }) => one),
    },
    findings,
    text: describe(undone, seed),
    ...(first !== undefined && { error: errorOf(findings.find(({ code }) => code === 'CF-4005') ?? first) }),
  };
}

interface Undone {
  readonly from: string;
  readonly to: readonly string[];
  readonly kept: TableInverse['kept'];
  readonly lost: TableInverse['lost'];
  /** That went up and came back. */
  readonly rows: number;
  readonly findings: readonly Finding[];
}

// oxlint-disable-next-line max-params -- one table's rows, given and random
function undo(inverse: TableInverse, results: readonly TestResult[], { catalogues }: TestBench, seed: number): Undone {
  const from = showTable(inverse.tables[0]!.from);
  const own = results.filter(({ tables = [] }) => tables[0] !== undefined && inverse.tables.includes(tables[0]));
  const given = own.map(({ row }) => row && roundTrip(inverse, row)).filter((faults) => faults !== undefined);
  const tally = randomRoundTrips(inverse, catalogues.source, { seed, rows: RANDOM_ROWS });
  const faults = [...(given.find((one) => one.length > 0) ?? []), ...tally.faults];
  const finding = ({ column, given: went, back }: RoundTripFault): Finding => ({
    severity: 'error',
    code: 'CF-4005',
    message: `${from}: "${column}" went up as ${JSON.stringify(went)} and came back as ${JSON.stringify(back)} (--seed ${seed})`,
    remedy: catalogue['CF-4005'].remedy,
  });
  return {
    from,
    to: inverse.tables.map(({ to }) => showTable(to)),
    kept: inverse.kept,
    lost: inverse.lost,
    rows: given.length + tally.rows,
    findings: faults.map(finding),
  };
}

function describe(undone: readonly Undone[], seed: number): string {
  const lost = undone.flatMap(({ from, lost: columns }) => columns.map(({ column, why }) => `  ${from}.${column}: ${why}\n`));
  const rows = undone.reduce((sum, one) => sum + one.rows, 0);
  if (undone.some(({ findings }) => findings.length > 0)) return '';
  const head = `${rows} rows went up and came back as they were (--seed ${seed})`;
  return lost.length === 0 ? `${head}, whole.\n` : `${head}, but for what the target does not keep:\n${lost.join('')}`;
}
