/**
 * All that `crossfade test` needs, from files only. Guarantee: no server is asked; the mapping is the pipeline's own, compiled from the
 * catalogues kept beside the file.
 */
import type { Catalogues } from '#schemas/config/catalogue-file.ts';
import type { MappingTest } from '#schemas/config/mapping-test.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readTestsFile } from '#schemas/config/read-tests-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { MappingResult } from '#schemas/mapping/compile-mapping.ts';
import { compileWith, readKeptCatalogues, textAt } from './kept-catalogues.ts';

export interface TestBench {
  readonly mapping: CompiledMapping;
  readonly catalogues: Catalogues;
  /** Of the file, then of the file of tests beside it. */
  readonly tests: readonly MappingTest[];
}

/** `migration.yaml` → `migration.tests.yaml`; of one of several targets `migration.TARGET.tests.yaml` */
export function testsPath(file: string, target?: string): string {
  return `${file.replace(/\.ya?ml$/, '')}${target === undefined ? '' : `.${target}`}.tests.yaml`;
}

/** @throws PipelineError CF-1010, or of the first fault of the files, all of them in `details.findings`. */
export async function loadTests(file: MigrationFile, path: string): Promise<TestBench> {
  const catalogues = await readKeptCatalogues(file, path);
  const mapping = mappingFrom(compileWith(file, catalogues));
  return { mapping, catalogues, tests: [...(file.tests ?? []), ...(await readTests(file, path))] };
}

export async function readTests(file: MigrationFile, path: string): Promise<readonly MappingTest[]> {
  const text = await textAt(testsPath(path, file.targetName));
  if (text === undefined) return [];
  const { tests, findings } = readTestsFile({ path: testsPath(file.path, file.targetName), text });
  if (findings.length > 0) throw refusal(findings);
  return tests;
}

/** @throws PipelineError of the first misfit, all of them in `details.findings`. */
export function mappingFrom({ mapping, findings }: MappingResult): CompiledMapping {
  if (mapping !== undefined) return mapping;
  throw refusal(findings);
}

function refusal(findings: readonly Finding[]): PipelineError {
  const error = errorOf(findings.find(({ severity }) => severity === 'error') ?? findings[0]!);
  return new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
}
