/** Plans of files written in tests. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { resolveTables } from '#schemas/mapping/resolve-tables.ts';
import { buildPlan } from '#schemas/plan/build-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import type { Catalog } from '#schemas/table.ts';

/** None of these values may show. */
export const ENV = {
  SOURCE_URL: 'postgres://me:hunter2@old:5433/shop?password=hunter3',
  TARGET_URL: 'postgres://me:hunter2@new/shop',
  PII_KEY: 'hunter4hunter4hunter4',
  TENANT: 'hunter5',
  ORIGIN: 'hunter6',
};
export const HEAD = 'crossfade: 1\nname: shop\nsource: { postgres: "${SOURCE_URL}" }\n';
export const TO_POSTGRES = 'target: { postgres: "${TARGET_URL}" }\n';

export function planFile(text: string): MigrationFile {
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text, env: ENV });
  if (file === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
  return file;
}

export function planOf(tables: string, source: Catalog, target: Catalog, rest = ''): PlanDocument {
  const file = planFile(`${HEAD}${TO_POSTGRES}${rest}tables:\n${tables}`);
  const { mapping, findings } = compileMapping(file, source, target);
  if (mapping === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  return buildPlan({ file, mapping, resolved, source, target, findings, versions: { crossfade: '1.2.3', timeZones: '2026a' } });
}
