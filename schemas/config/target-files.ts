/**
 * A migration file with several targets, as each of them sees it. Guarantee: an entry belongs to exactly one target, and what works on a
 * file with one target works on the view of any, for nothing of another target is in it.
 */
import { didYouMean } from '../nearest-name.ts';
import type { MigrationFile, NamedTarget, TargetAddress } from './migration-file.ts';
import type { Path } from './yaml-source.ts';

/** One view for each target, in the file's order; the file itself where it has one. */
export function targetFiles(file: MigrationFile): readonly MigrationFile[] {
  const { targets, tests, checks, shadow, schemaSteps, schemaMigrations, signedPlan, ...rest } = file;
  if (targets === undefined) return [file];
  return targets.map(({ name, address }) => {
    const own = <T extends { readonly target?: string }>(entries: readonly T[] | undefined): T[] =>
      (entries ?? []).filter(({ target }) => target === name);
    const [ownTests, ownChecks, ownShadow] = [own(tests), own(checks), own(shadow)];
    const [ownSteps, ownMigrations] = [own(schemaSteps), own(schemaMigrations)];
    return {
      ...rest,
      target: address,
      targetName: name,
      tables: own(rest.tables),
      ...(ownTests.length > 0 && { tests: ownTests }),
      ...(ownChecks.length > 0 && { checks: ownChecks }),
      ...(ownShadow.length > 0 && { shadow: ownShadow }),
      ...(ownSteps.length > 0 && { schemaSteps: ownSteps }),
      ...(ownMigrations.length > 0 && { schemaMigrations: ownMigrations }),
      ...(targets.length === 1 && signedPlan !== undefined && { signedPlan }),
    };
  });
}

/** What stands in the file beside `target:` or in its place. */
interface Entries {
  readonly targets: readonly NamedTarget[] | undefined;
  readonly tables: readonly { readonly target?: string | undefined; readonly redis?: unknown }[];
  readonly tests: readonly { readonly target?: string | undefined }[];
  readonly checks: readonly { readonly target?: string | undefined }[];
  readonly shadow: readonly { readonly target?: string | undefined }[];
  readonly schemaSteps: readonly { readonly target?: string | undefined }[];
  readonly schemaMigrations: readonly { readonly target?: string | undefined; readonly on: 'target' | 'source' }[];
}

type Wrong = (message: string, at: Path) => void;

/** Reports names that are not there, entries that do not say where they go, and targets that are one store or get nothing. */
export function checkTargets(entries: Entries, wrong: Wrong): void {
  const { targets = [], tables } = entries;
  const check = (entry: { readonly target?: string | undefined }, at: Path, candidates: readonly NamedTarget[]): void => {
    const { target } = entry;
    if (target === undefined) {
      if (candidates.length > 1) wrong(`the file has several targets: say which with target: ${namesOf(candidates).join(' or ')}`, at);
    } else if (!targets.some(({ name }) => name === target)) wrong(`there is no such target${hintFor(target, targets)}`, [...at, 'target']);
    else if (!candidates.some(({ name }) => name === target)) wrong(`target "${target}" is not PostgreSQL`, [...at, 'target']);
  };
  const databases = targets.filter(({ address }) => address.postgres !== undefined);
  tables.forEach((entry, i) => check(entry, ['tables', i], targets));
  entries.tests.forEach((entry, i) => check(entry, ['tests', i], targets));
  entries.checks.forEach((entry, i) => check(entry, ['checks', i], databases));
  entries.shadow.forEach((entry, i) => check(entry, ['shadow', i], databases));
  entries.schemaSteps.forEach((entry, i) => check(entry, ['schemaSteps', i], databases));
  entries.schemaMigrations.forEach((entry, i) => {
    if (entry.on === 'target') check(entry, ['schemaMigrations', i], databases);
  });
  if (targets.length < 2) return;
  for (const { name } of targets)
    if (!tables.some(({ target }) => target === name)) wrong('no entry of tables goes to this target', ['targets', name]);
  targets.forEach(({ name, address }, i) => {
    const twin = targets.slice(0, i).find((other) => storeOf(other.address) === storeOf(address));
    if (twin !== undefined) wrong(`is the same store as target "${twin.name}": each keeps its own progress there`, ['targets', name]);
  });
}

function hintFor(target: string, targets: readonly NamedTarget[]): string {
  if (targets.length === 0) return ': the file has one target, which has no name';
  const near = didYouMean(target, namesOf(targets));
  return near === '' ? `; there are ${namesOf(targets).join(', ')}` : near;
}

function namesOf(targets: readonly NamedTarget[]): string[] {
  return targets.map(({ name }) => name);
}

/** Of an entry that names none there is one it can be meant for. */
export function defaultTarget(targets: readonly NamedTarget[] | undefined, kind?: 'postgres'): string | undefined {
  const fit = (targets ?? []).filter(({ address }) => kind === undefined || address[kind] !== undefined);
  return fit.length === 1 ? fit[0]!.name : undefined;
}

/** Server and database, whoever logs in. */
function storeOf({ postgres, redis }: TargetAddress): string {
  const text = postgres ?? redis.url;
  if (!URL.canParse(text)) return text;
  const { hostname, port, pathname, searchParams } = new URL(text);
  const kind = postgres === undefined ? 'redis' : 'postgres';
  const path = kind === 'redis' && pathname === '' ? '/0' : pathname;
  return [kind, searchParams.get('host') ?? hostname, port === '' ? (kind === 'redis' ? '6379' : '5432') : port, path].join(' ');
}
