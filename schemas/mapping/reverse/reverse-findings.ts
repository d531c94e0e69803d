/**
 * What a person is told of the way back before there is a cut-over. Guarantee: pure; a loss that gate `reversible` would close on is a warning, one that
 * the file accepts or asks for is told without; of a migration that no cut-over is made of (Redis, several targets) nothing is said.
 */
import { cutoverOf } from '#schemas/config/cutover-schema.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { infoFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { matchesTable, parseTablePattern } from '../table-pattern.ts';
import type { ReverseDerivation, ReverseTable } from './derive-reverse.ts';

/** Of these something that is written on the target does not come back, and the file does not ask for it. */
export function lossyTables(tables: readonly ReverseTable[]): ReverseTable[] {
  return tables.filter(({ kind }) => kind === 'partial' || kind === 'one-way');
}

/** `accept`: of the file's `cutover` block. */
export function isAccepted(accept: readonly string[], { from }: Pick<ReverseTable, 'from'>): boolean {
  const named = parseTablePattern(from);
  return accept.some((pattern) => {
    const parsed = parseTablePattern(pattern);
    return parsed !== undefined && named !== undefined && matchesTable(parsed, named);
  });
}

/** Why nothing of the migration goes back, where the file says so of each table by itself. */
export function acceptedOneWay({ file, tables, why }: ReverseDerivation, accept: readonly string[]): string | undefined {
  const isMeant = (table: ReverseTable): boolean => table.kind === 'none' || (table.kind === 'one-way' && isAccepted(accept, table));
  return file === undefined && tables.length > 0 && tables.every(isMeant) ? why : undefined;
}

export function describeLoss({ from, kind, why, lost }: ReverseTable): string {
  if (kind === 'one-way') return `${from} is one-way (${why ?? 'nothing of it goes back'})`;
  return `${from} is partial (lost: ${lost.map(({ column }) => column).join(', ')})`;
}

const AS_ASKED = 'Nothing is to be done, if that is what is meant.';

export function reverseFindings(file: MigrationFile, { tables, why, file: reverse }: ReverseDerivation): Finding[] {
  const { path } = file;
  if (file.target.postgres === undefined || file.targets !== undefined || file.targetName !== undefined) return [];
  if (file.reverse === 'off') {
    const message = 'nothing that is written on the target after the cut-over goes back to the source: the file says `reverse: off`';
    return [{ ...infoFinding('CF-8325', message, AS_ASKED), path }];
  }
  const { accept } = cutoverOf(file);
  const told = tables.flatMap((table) => findingOf(table, isAccepted(accept, table)).map((one) => ({ ...one, path })));
  const isWholeLost = reverse === undefined && tables.some(({ kind }) => kind === 'reversible' || kind === 'partial');
  if (!isWholeLost) return told;
  return [{ ...warningFinding('CF-8325', `nothing goes back to the source: ${why ?? 'not known why'}`), path }, ...told];
}

function findingOf(table: ReverseTable, accepted: boolean): Finding[] {
  const { from, to, kind, why, remedy, lost, line, column } = table;
  if (kind === 'reversible') return [];
  if (kind === 'none') {
    const message = `nothing that is written to ${to} on the target goes back to ${from}, as the file says`;
    return [{ ...infoFinding('CF-8325', message, AS_ASKED), line, column }];
  }
  const message =
    kind === 'one-way'
      ? `${from} is one-way: nothing that is written to ${to} on the target goes back (${why ?? 'not known why'})`
      : `${from} goes back in part; lost: ${listNames(
          lost.map((one) => `${one.column} (${one.why})`),
          5,
        )}`;
  if (accepted) return [{ ...infoFinding('CF-8325', `${message}; accepted in the file`, AS_ASKED), line, column }];
  const accept = `Or accept it before the cut-over: cutover: { accept: [${from}] }.`;
  const mend = remedy ?? 'Change the mapping, or say how it goes back (reverse: { set: … }).';
  return [{ ...warningFinding('CF-8325', message, `${mend} ${accept}`), line, column }];
}
