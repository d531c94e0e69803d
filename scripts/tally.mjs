/**
 * Sums the reports of a CI run into one last line. Guarantee: a run that failed is never counted as green: an exit code other than 0
 * without a failure in its report (a crash, a file that could not be loaded) counts as one.
 *
 * Arguments: NAME:EXIT-CODE:REPORT. A report is vitest's JSON, or `{ passed, failed, skipped }`.
 */
import { readFileSync } from 'node:fs';

const sum = { passed: 0, failed: 0, skipped: 0 };
for (const argument of process.argv.slice(2)) {
  const [name, status, path] = argument.split(':');
  const counts = readCounts(path);
  if (status !== '0' && counts.failed === 0) {
    process.stderr.write(`${name} ended with exit code ${status} and no failure in its report\n`);
    counts.failed = 1;
  }
  for (const key of Object.keys(sum)) sum[key] += counts[key];
}
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exit(sum.failed === 0 && sum.passed > 0 ? 0 : 1);

function readCounts(path) {
  let report;
  try {
    report = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
  if (report.numTotalTests === undefined) return { passed: report.passed, failed: report.failed, skipped: report.skipped };
  const unloadable = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0).length;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloadable,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}
