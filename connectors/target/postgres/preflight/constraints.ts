/**
 * Foreign keys and triggers of the target, for a role that may set session_replication_role = replica and for one that may not.
 * Guarantee: what cannot be loaded in any order (a cycle, a self reference over several chunks) is refused before the start.
 */
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, infoFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { type CatalogTable, quoteIdent, quoteTable } from '#schemas/table.ts';
import type { TargetCheckInput, TargetFacts, TargetTable } from './target-check.ts';

export async function checkTriggers({ facts, tables }: TargetCheckInput): Promise<Finding[]> {
  const named = (always: boolean): { name: string; sql: string }[] =>
    tables.flatMap(({ table }) =>
      table.triggers
        .filter((trigger) => trigger.always === always)
        .map((trigger) => ({
          name: `${quoteIdent(trigger.name)} on ${quoteTable(table)}`,
          sql: `ALTER TABLE ${quoteTable(table)} DISABLE TRIGGER ${quoteIdent(trigger.name)};`,
        })),
    );
  const findings: Finding[] = [];
  const always = named(true);
  if (always.length > 0) {
    const message = `triggers that fire ALWAYS will act on every row applied: ${listNames(always.map((one) => one.name))}`;
    findings.push(
      warningFinding('CF-5007', message, `Where that is not wanted until the cut-over: ${always.map((one) => one.sql).join(' ')}`),
    );
  }
  const plain = named(false);
  if (plain.length > 0 && !facts.mayReplicaRole) {
    const message = `triggers will act on every row applied, because the target role may not set session_replication_role: ${listNames(plain.map((one) => one.name))}`;
    findings.push(
      warningFinding('CF-5007', message, `${replicaRoleSql(facts)}  -- or until the cut-over: ${plain.map((one) => one.sql).join(' ')}`),
    );
  }
  return findings;
}

/** Lets the role have foreign keys and ordinary triggers rest. */
export function replicaRoleSql(facts: Pick<TargetFacts, 'role' | 'version'>): string {
  const role = quoteIdent(facts.role);
  return facts.version >= 150_000 ? `GRANT SET ON PARAMETER session_replication_role TO ${role};` : `ALTER ROLE ${role} SUPERUSER;`;
}

export async function checkForeignKeys({ facts, tables, chunkRows }: TargetCheckInput): Promise<Finding[]> {
  const keyed = tables.filter(({ table }) => table.foreignKeys.length > 0);
  if (keyed.length === 0 || facts.mayReplicaRole) return [];
  const findings: Finding[] = [];
  const grant = replicaRoleSql(facts);
  for (const circle of findCircles(tables)) {
    const rows = Math.max(...circle.map((one) => one.rowsExpected));
    const names = circle.map(({ table }) => quoteTable(table)).join(' → ');
    const what = circle.length === 1 ? `${names} refers to itself` : `foreign keys of the target form a circle: ${names}`;
    const drop = circle.flatMap(({ table }) =>
      circularKeys(table, circle).map((key) => `ALTER TABLE ${quoteTable(table)} DROP CONSTRAINT ${quoteIdent(key)};`),
    );
    const remedy = `${grant}  -- or drop the constraint until the cut-over: ${drop.join(' ')}`;
    if (circle.length === 1 && rows <= chunkRows) continue; // its rows come in one statement, and the check is made at its end
    findings.push(
      errorFinding(
        'CF-5007',
        `${what}, and the target role may not set session_replication_role: rows cannot be loaded in an order that the constraints accept`,
        remedy,
      ),
    );
  }
  findings.push(...checkSelfReferences(keyed, chunkRows, grant));
  const outside = keyed.flatMap(({ table }) =>
    table.foreignKeys
      .filter((key) => !isMapped(tables, key.toSchema, key.toTable))
      .map((key) => `${quoteIdent(key.name)} on ${quoteTable(table)}`),
  );
  if (outside.length > 0) {
    findings.push(
      warningFinding(
        'CF-5007',
        `foreign keys point at tables that the file does not fill: ${listNames(outside)}`,
        'Fill those tables first, or drop the constraints until the cut-over.',
      ),
    );
  }
  if (findings.length === 0) {
    const message = `foreign keys of ${keyed.length} target tables are checked row by row (the target role may not set session_replication_role): tables are copied parents first, on one connection`;
    findings.push(infoFinding('CF-5007', message, `Faster: ${grant}`));
  }
  return findings;
}

/**
 * A statement of the source is checked when it ends; its rows come one by one. Between tables the sink's order helps (parents first, and last to
 * go), within one nothing does but a check at the end of the transaction.
 */
function checkSelfReferences(keyed: readonly TargetTable[], chunkRows: number, grant: string): Finding[] {
  const keys = keyed
    .filter(({ rowsExpected }) => rowsExpected <= chunkRows) // a larger one is refused as a circle
    .flatMap(({ table }) =>
      table.foreignKeys
        .filter((key) => !key.deferrable && key.toSchema === table.schema && key.toTable === table.name)
        .map((key) => ({ table: quoteTable(table), key: quoteIdent(key.name) })),
    );
  if (keys.length === 0) return [];
  const alter = [...new Set(keys.map(({ table, key }) => `ALTER TABLE ${table} ALTER CONSTRAINT ${key} DEFERRABLE;`))];
  const names = listNames([...new Set(keys.map(({ table, key }) => `${key} on ${table}`))]);
  return [
    warningFinding(
      'CF-5007',
      `foreign keys of tables that refer to themselves are checked row by row, where the source checks whole statements: one that inserts, deletes or moves rows that refer to each other holds its table: ${names}`,
      `Let them be checked at the end of a transaction: ${alter.join(' ')}  -- or ${grant}`,
    ),
  ];
}

function isMapped(tables: readonly TargetTable[], schema: string, name: string): boolean {
  return tables.some(({ table }) => table.schema === schema && table.name === name);
}

function circularKeys(table: CatalogTable, circle: readonly TargetTable[]): string[] {
  return table.foreignKeys.filter((key) => isMapped(circle, key.toSchema, key.toTable)).map((key) => key.name);
}

/** Strongly connected groups of tables (Tarjan), and tables that refer to themselves. */
export function findCircles(tables: readonly TargetTable[]): TargetTable[][] {
  const nodes = new Map(tables.map((one) => [`${one.table.schema}\u0001${one.table.name}`, one]));
  const index = new Map<TargetTable, number>();
  const low = new Map<TargetTable, number>();
  const stack: TargetTable[] = [];
  const circles: TargetTable[][] = [];
  const visit = (node: TargetTable): void => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    stack.push(node);
    let selfReference = false;
    for (const key of node.table.foreignKeys) {
      const next = nodes.get(`${key.toSchema}\u0001${key.toTable}`);
      if (next === undefined) continue;
      if (next === node) selfReference = true;
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1 || selfReference) circles.push(group);
  };
  for (const node of tables) if (!index.has(node)) visit(node);
  return circles;
}
