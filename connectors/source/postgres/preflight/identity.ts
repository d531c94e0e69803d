/**
 * Keys and replica identities of tables that have no target yet (the mapping compiler judges the others). Guarantee: every relation that passes has, for each UPDATE and DELETE, an old row that names its target
 * row; nothing is altered here, the statements are printed for the owner.
 */
import type { Finding } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { type CatalogKey, type CatalogTable, quoteIdent, quoteTable, type ReplicaIdentity } from '#schemas/table.ts';
import type { SourceCheckInput } from './source-check.ts';

interface Relation {
  readonly schema: string;
  readonly name: string;
  readonly replicaIdentity: ReplicaIdentity;
  readonly identityKey?: CatalogKey;
}

export async function checkIdentity({ untargeted }: SourceCheckInput): Promise<Finding[]> {
  return untargeted.flatMap((table) => {
    const relations: readonly Relation[] = table.kind === 'p' ? table.leaves : [table];
    return relations.flatMap((relation) => checkRelation(relation, table));
  });
}

function checkRelation(relation: Relation, table: CatalogTable): Finding[] {
  const problem = identityProblem(relation, table);
  return problem === undefined ? [] : [errorFinding('CF-2008', `${quoteTable(relation)} ${problem}`, identitySql(relation, table))];
}

function identityProblem(relation: Relation, table: CatalogTable): string | undefined {
  const consequence = 'once published, its UPDATEs and DELETEs would fail for the application';
  if (relation.replicaIdentity === 'n') return `has REPLICA IDENTITY NOTHING: ${consequence}`;
  if (relation.replicaIdentity === 'd' && table.primaryKey === undefined)
    return `has no primary key and no other replica identity: ${consequence}`;
  if (relation.replicaIdentity === 'i' && relation.identityKey === undefined)
    return 'names an index as its replica identity that is gone or not valid';
  return undefined;
}

/** The cheapest identity there is: the primary key, a unique index over not-null columns, else the whole row. */
function identitySql(relation: Relation, table: CatalogTable): string {
  const alter = `ALTER TABLE ${quoteTable(relation)} REPLICA IDENTITY`;
  if (table.primaryKey !== undefined) return `${alter} DEFAULT;`;
  const unique = table.kind === 'r' ? table.uniqueKeys[0] : undefined;
  if (unique !== undefined) return `${alter} USING INDEX ${quoteIdent(unique.indexName)};  -- or: ${alter} FULL;`;
  return `${alter} FULL;`;
}
