/** Transactions that a fence would wait for. Guarantee: names who it is, never what is run. */
import { queryRows } from '#connectors/postgres/session.ts';
import { listNames } from '#schemas/finding.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import { flipTo } from '../flip/ports.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

const OLD_SECONDS = 5;

/**
 * Any lock on one of the tables that is stronger than a reader's; with $3 a reader's, too: who swaps names waits for readers,
 * but for our own comparisons, which the fence ends. */
const OLD = `SELECT DISTINCT a.pid::text AS pid, coalesce(nullif(a.application_name, ''), a.backend_type) AS application, a.usename AS role,
    round(extract(epoch FROM clock_timestamp() - a.xact_start))::text AS age
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.relation = ANY (SELECT to_regclass(t)::oid FROM unnest($1::text[]) AS t) AND ($3 OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
    AND a.xact_start < clock_timestamp() - $2 * interval '1 s' AND a.pid <> pg_backend_pid()
    AND NOT ($3 AND a.application_name = 'crossfade verify' AND a.usename = current_user)`;

const PREPARED = `SELECT gid, round(extract(epoch FROM clock_timestamp() - prepared))::text AS age FROM pg_prepared_xacts WHERE database = current_database()`;

export function transactionsGate({ migration, sessions }: TableGateParts): Gate {
  return {
    name: 'transactions',
    // One that comes later is answered by the fence's tries.
    phases: ['begin'],
    look: async ({ kind }): Promise<GateVerdict> => {
      const from = otherSide(flipTo(kind));
      const [old, prepared] = await sessions.run(from, async (client) => [
        await queryRows(client, OLD, [migration.tables[from].map(quoteTable), OLD_SECONDS, migration.swap !== undefined]),
        await queryRows(client, PREPARED),
      ]);
      if (old.length + prepared.length === 0) return { evidence: `none on the tables is older than ${OLD_SECONDS} s, none is prepared` };
      const seen = [
        ...old.map(({ pid, application, role, age }) => `pid ${pid} (${application}, role ${role}) for ${age} s`),
        ...prepared.map(({ age }) => `a prepared one for ${age} s (pg_prepared_xacts)`),
      ];
      return { closed: { code: 'CF-8327' }, evidence: `open on the ${from}: ${listNames(seen, 5)}` };
    },
  };
}
