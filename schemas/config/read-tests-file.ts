/**
 * Text of a file of tests (`migration.tests.yaml`) → tests. Guarantee: as for the migration file, all that is wrong is told at once, each
 * with its line; and nothing is taken from the environment. No I/O.
 */
import { catalogue } from '../error-catalogue.ts';
import type { Finding } from '../errors.ts';
import { explainIssues } from './explain-issue.ts';
import type { MappingTest } from './mapping-test.ts';
import { buildTests, keepsTextInTests, testsFileSchema } from './test-schema.ts';
import { readYaml, type Path } from './yaml-source.ts';

export interface TestsReading {
  readonly tests: readonly MappingTest[];
  readonly findings: readonly Finding[];
}

export function readTestsFile({ path, text }: { readonly path: string; readonly text: string }): TestsReading {
  const source = readYaml({ path, text, env: {}, keepsText: keepsTextInTests });
  if (source.value === undefined) return { tests: [], findings: source.findings };
  const parsed = testsFileSchema.safeParse(source.value);
  const findings = [...source.findings, ...(parsed.success ? [] : explainIssues(parsed.error.issues, source, path))];
  if (!parsed.success || findings.length > 0) return { tests: [], findings };
  const wrong = (message: string, at: Path): void => {
    const { remedy } = catalogue['CF-1004'];
    findings.push({ severity: 'error', code: 'CF-1004', message, remedy, path, ...source.valuePlace(at) });
  };
  const tests = buildTests(parsed.data.tests, { source, path, wrong });
  return { tests, findings };
}
