/**
 * Which migrations of a folder the history does not know. Guarantee: names and versions are read as each tool reads them (cited at the reader
 * of histories); what is no migration of the tool is passed over.
 */
import type { HistoryEntry, SchemaTool } from './schema-tools.ts';

/** `files`: paths below the folder, with slashes. */
export function pendingMigrations(tool: SchemaTool, files: readonly string[], history: readonly HistoryEntry[]): string[] {
  const known = new Map(history.map((entry) => [entry.id, entry]));
  const isOld = behind(tool, history);
  return files
    .flatMap((path) => {
      const id = READERS[tool](path);
      return id === undefined ? [] : [{ path, id }];
    })
    .filter(({ path, id }) => {
      if (tool === 'flyway' && REPEATABLE.test(baseName(path)))
        return !history.some(({ script }) => script !== undefined && endsWith(path, script));
      const entry = known.get(tool === 'flyway' ? flywayVersion(id) : id);
      return entry?.kind !== 'applied' && !isOld(id);
    })
    .map(({ path }) => path)
    .toSorted();
}

type Reader = (path: string) => string | undefined;

const VERSIONED = /^V(\d[\d._]*)__.*\.sql$/;
const REPEATABLE = /^R__.*\.sql$/;

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function endsWith(path: string, script: string): boolean {
  return path === script || path.endsWith(`/${script}`);
}

function inFolder(pattern: RegExp): Reader {
  return (path) => (path.includes('/') ? undefined : pattern.exec(path)?.[1]);
}

/** What the history would call the migration in this file. */
const READERS: Readonly<Record<SchemaTool, Reader>> = {
  // Flyway looks through folders within the folder too.
  flyway: (path) => (REPEATABLE.test(baseName(path)) ? baseName(path) : VERSIONED.exec(baseName(path))?.[1]),
  liquibase: () => undefined,
  dbmate: inFolder(/^(\d+).*\.sql$/),
  'node-pg-migrate': inFolder(/^([^.].*)\.(?:sql|[cm]?[jt]s)$/),
  prisma: (path) => /^([^/]+)\/migration\.sql$/.exec(path)?.[1],
  atlas: inFolder(/^([^._][^_.]*)(?:_.*)?\.sql$/),
  pgroll: inFolder(/^([^.].*)\.(?:json|ya?ml)$/),
  'golang-migrate': inFolder(/^(\d+)_.*\.up\..+$/),
};

/** 1_2, 01.2 and 1.2.0 are one version to Flyway. */
export function flywayVersion(text: string): string {
  const parts = text.split(/[._]/).map((part) => part.replace(/^0+(?=\d)/, ''));
  while (parts.length > 1 && parts.at(-1) === '0') parts.pop();
  return parts.join('.');
}

/** Tells versions that lie at or before a baseline, or before the one number that is kept. */
function behind(tool: SchemaTool, history: readonly HistoryEntry[]): (id: string) => boolean {
  if (tool === 'golang-migrate') {
    const current = history.at(-1)?.id;
    return (id) => current !== undefined && BigInt(id) <= BigInt(current);
  }
  const baseline = history.findLast(({ kind }) => kind === 'baseline')?.id;
  if (baseline === undefined) return () => false;
  if (tool === 'flyway') return (id) => compareVersions(flywayVersion(id), baseline) <= 0;
  return (id) => id <= baseline;
}

function compareVersions(one: string, other: string): number {
  const [first, second] = [one.split('.').map(BigInt), other.split('.').map(BigInt)];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    const [a, b] = [first[i] ?? 0n, second[i] ?? 0n];
    if (a !== b) return a < b ? -1 : 1;
  }
  return 0;
}
