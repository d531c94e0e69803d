/**
 * Checks of what is no row: structure and sequences, as they are now. Guarantee: reads the present on both sides, so it needs no alignment; a
 * sequence behind its keys, or one that cannot be read, is told and is no drift, for sequences are set at the cut-over.
 */
import { pairId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import type { MappedForeignKey } from '#schemas/reconcile/checks/planned-check.ts';
import { compareStructure, type StructureFinding } from '#schemas/reconcile/checks/structure.ts';
import type { Catalog } from '#schemas/table.ts';
import { readIndexes, readSequences, readTriggers, type SequenceState } from '#connectors/probe/postgres/checks/standing.ts';
import { openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { serverReason } from '../server-reason.ts';

export interface Standing {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly tables: readonly TableMapping[];
  readonly source: Catalog;
  readonly target: Catalog;
  readonly foreignKeys: readonly MappedForeignKey[];
}

export async function standingChecks(standing: Standing): Promise<CheckVerdict[]> {
  try {
    return await readAndCompare(standing);
  } catch (error) {
    const reason = serverReason(error);
    if (reason === undefined) throw error;
    return [{ name: 'structure', kind: 'structure', verdict: 'inconclusive', source: null, target: null, ...reason }];
  }
}

async function readAndCompare({ sourceUrl, targetUrl, ...input }: Standing): Promise<CheckVerdict[]> {
  await using stack = new AsyncDisposableStack();
  const open = async (url: string, side: 'source' | 'target'): ReturnType<typeof openSession> =>
    stack.adopt(await openSession(url, side), (client) => client.end().catch(() => undefined));
  const [source, target] = [await open(sourceUrl, 'source'), await open(targetUrl, 'target')];
  const [own, theirs] = [input.tables.map(({ from }) => from), input.tables.map(({ to }) => to)];
  const indexes = { source: await readIndexes(source, own), target: await readIndexes(target, theirs) };
  const triggers = { source: await readTriggers(source, own), target: await readTriggers(target, theirs) };
  const found = compareStructure({ ...input, indexes, triggers });
  const structure = input.tables.map((table) => structureVerdict(table, found.get(pairId(table)) ?? []));
  const filled = new Map(input.tables.map(({ to }) => [`${to.schema}\u0001${to.name}`, to]));
  const sequences = (await readSequences(target, [...filled.values()])).filter(({ table, column }) =>
    isFilled(input.tables, table, column),
  );
  return [...structure, ...sequences.map(sequenceVerdict)];
}

/** Of a column that the migration does not fill, the target's own rows decide. */
function isFilled(tables: readonly TableMapping[], table: SequenceState['table'], column: string): boolean {
  return tables.some(
    ({ to, columns }) => to.schema === table.schema && to.name === table.name && columns.some(({ target }) => target === column),
  );
}

function structureVerdict({ to }: TableMapping, findings: readonly StructureFinding[]): CheckVerdict {
  const base = { name: `structure of ${to.schema}.${to.name}`, kind: 'structure', source: null, target: null } as const;
  if (findings.length === 0)
    return { ...base, verdict: 'equal', message: 'keys, indexes, constraints, defaults and triggers are as at the source' };
  // Another schema may be meant: no row differs by it.
  return { ...base, verdict: 'differs', severity: 'warning', message: findings.map(({ message }) => message).join('; ') };
}

function sequenceVerdict({ sequence, table, column, lastValue, extreme, isBehind }: SequenceState): CheckVerdict {
  const name = `sequence ${sequence} of ${table.schema}.${table.name}.${column}`;
  const base = { name, kind: 'sequence', source: extreme ?? null, target: lastValue ?? null } as const;
  if (isBehind === undefined) {
    const message = 'the role may not read it (SELECT), so whether it is behind the keys is not known';
    return { ...base, verdict: 'inconclusive', severity: 'warning', message, cause: 'unreadable' };
  }
  if (!isBehind) return { ...base, verdict: 'equal', message: 'it is not behind the keys' };
  const at = lastValue === undefined ? 'was never used' : `stands at ${lastValue}`;
  return { ...base, verdict: 'differs', severity: 'warning', message: `it ${at}, the keys at ${extreme}: the cut-over sets it` };
}
