/**
 * What the lift behind the decision would wait for: VACUUM and ANALYZE of somebody's, CREATE INDEX CONCURRENTLY, DDL, long transactions of writers, and prepared ones, on tables
 * that carry the fence of the side that will serve, or get the other one's names. Guarantee: names who it is, never what is run. An autovacuum gives way by itself, unless it has to
 * prevent a wraparound; where nothing was ever fenced there is nothing to be lifted.
 */
import { readCarriers } from '#connectors/fence/postgres/triggers.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { listNames } from '#schemas/finding.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import { flipTo } from '../flip/ports.ts';
import type { FlippedMigration } from '../postgres/flipped-migration.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

/** A writer of one row is gone before anybody has read this. */
const OLD_SECONDS = 5;

/** A prepared transaction has no session, and keeps its locks through any restart until somebody ends it: pg_locks knows it by its transaction alone. */
const HOLDERS = `SELECT DISTINCT ON (l.pid, p.gid, c.oid) a.pid::text AS pid, coalesce(nullif(a.application_name, ''), a.backend_type) AS application,
    coalesce(a.usename, p.owner) AS role, p.gid AS gid, l.mode AS mode, n.nspname || '.' || c.relname AS table,
    round(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared)))::text AS age
  FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction AND x.locktype = 'transactionid'
  LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
  JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND c.oid = ANY (SELECT to_regclass(t)::oid FROM unnest($1::text[] || $3::text[]) AS t
                     UNION SELECT p.relid FROM unnest($3::text[]) AS t, pg_partition_tree(to_regclass(t)) AS p)
    AND (l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
         OR l.mode = 'RowExclusiveLock' AND coalesce(a.xact_start, p.prepared) < clock_timestamp() - $2 * interval '1 s')
    AND (l.pid IS NULL OR (a.backend_type <> 'autovacuum worker' OR a.query LIKE '%(to prevent wraparound)')
         AND a.application_name NOT LIKE 'crossfade %' AND a.pid <> pg_backend_pid())
  ORDER BY l.pid, p.gid, c.oid, l.mode DESC`;

export interface LiftGateParts extends Pick<TableGateParts, 'sessions'> {
  readonly migration: Pick<FlippedMigration, 'name' | 'swap'>;
}

export function liftGate({ migration, sessions }: LiftGateParts): Gate {
  return {
    name: 'maintenance',
    look: async ({ kind }): Promise<GateVerdict> => {
      const to = flipTo(kind);
      return sessions.run(to, async (client) => {
        const { name, swap } = migration;
        const carriers = await readCarriers(client, { name, side: to, ...(swap !== undefined && { swap: swap[to] }) });
        const renamed = swap?.[otherSide(to)].others ?? [];
        if (carriers.length + renamed.length === 0) return { evidence: `the ${to} has no fence to be lifted` };
        const rows = await queryRows(client, HOLDERS, [carriers.map(quoteTable), OLD_SECONDS, renamed.map(quoteTable)]);
        if (rows.length === 0) return { evidence: `nothing on the ${to} holds up the end of its fence` };
        const seen = rows.map(
          ({ pid, application, role, gid, mode, table, age }) =>
            `${pid === null ? `prepared transaction ${gid} (` : `pid ${pid} (${application}, `}role ${role}) has ${mode} on ${table} for ${age} s`,
        );
        return { closed: { code: 'CF-8334' }, evidence: `on the ${to}: ${listNames(seen, 5)}` };
      });
    },
  };
}
