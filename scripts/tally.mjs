/**
 * Sums the reports of a CI run into one last line, behind the name of each failure: a log of which only the end is kept still says what failed.
 * Guarantee: a run that failed is never counted as green: an exit code other than 0 without a failure in its report (a crash, a file that could
 * not be loaded) counts as one.
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
  for (const { where, reason } of counts.failures) process.stdout.write(`failed: ${where}\n    ${firstLines(reason)}\n`);
}
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exit(sum.failed === 0 && sum.passed > 0 ? 0 : 1);

/** Enough to know it by. */
function firstLines(reason = '') {
  const lines = reason
    .split('\n')
    .slice(0, 3)
    .map((line) => line.slice(0, 500));
  return lines.join('\n    ');
}

function readCounts(path) {
  let report;
  try {
    report = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return { passed: 0, failed: 0, skipped: 0, failures: [] };
  }
  if (report.numTotalTests === undefined) {
    const { passed, failed, skipped, outcomes = [] } = report;
    const failures = outcomes
      .filter(({ state }) => state === 'failed')
      .map((one) => ({ where: `proof ${one.name}, seed ${one.seed}`, reason: one.reason }));
    return { passed, failed, skipped, failures };
  }
  const unloadable = report.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0);
  const failures = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'failed')
      .map(({ fullName, failureMessages }) => ({ where: `${name}: ${fullName}`, reason: failureMessages[0] })),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloadable.length,
    skipped: report.numPendingTests + report.numTodoTests,
    failures: [...failures, ...unloadable.map(({ name, message }) => ({ where: name, reason: message }))],
  };
}
