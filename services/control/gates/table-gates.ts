/** What the pipeline's own tables say of it. Guarantee: each gate names the tables it is about; what was never recorded closes it. */
import type pg from 'pg';
import { queryRows } from '#connectors/postgres/session.ts';
import { listNames } from '#schemas/finding.ts';
import { otherSide } from '#schemas/migration/transitions.ts';
import { flipTo } from '../flip/ports.ts';
import { type FlippedMigration, pipelineName } from '../postgres/flipped-migration.ts';
import type { SideSessions } from '../postgres/sessions.ts';
import type { Gate, GateVerdict, Look } from './gates.ts';

export interface TableGateParts {
  readonly migration: FlippedMigration;
  readonly sessions: SideSessions;
}

interface Pipeline {
  readonly client: pg.Client;
  readonly name: string;
}

/** A gate that looks at what a pipeline keeps, on the side that its rows come to. */
function pipelineGate(name: string, { migration, sessions }: TableGateParts, look: (pipeline: Pipeline) => Promise<GateVerdict>): Gate {
  return {
    name,
    look: async ({ kind }: Look) => {
      const to = flipTo(kind);
      return sessions.run(to, async (client) => look({ client, name: pipelineName(migration, otherSide(to)) ?? migration.name }));
    },
  };
}

async function has(client: pg.Client, table: string): Promise<boolean> {
  return (await client.query('SELECT WHERE to_regclass($1) IS NOT NULL', [table])).rowCount === 1;
}

export function tablesGate(parts: TableGateParts): Gate {
  return pipelineGate('tables', parts, async ({ client, name }) => {
    const closed = { code: 'CF-8321' } as const;
    if (!(await has(client, 'crossfade.progress'))) return { closed, evidence: 'nothing was ever copied' };
    const [progress] = await queryRows(client, 'SELECT mode, applied_lsn::text AS lsn FROM crossfade.progress WHERE name = $1', [name]);
    if (typeof progress?.['lsn'] !== 'string') return { closed, evidence: 'the copy is not done' };
    const rows = await queryRows(
      client,
      `SELECT source_schema || '.' || source_table AS table, state, error FROM crossfade.table_progress WHERE name = $1 ORDER BY 1`,
      [name],
    );
    const others = rows.filter(({ state }) => state !== 'following');
    if (others.length === 0) return { evidence: `${rows.length} tables follow` };
    return {
      closed,
      evidence: listNames(
        others.map(({ table, state, error }) => `${table} is ${state}${error ? `: ${error}` : ''}`),
        5,
      ),
    };
  });
}

export function deadLettersGate(parts: TableGateParts): Gate {
  return pipelineGate('dead-letters', parts, async ({ client, name }) => {
    if (!(await has(client, 'crossfade.blocked'))) return { evidence: 'no row is set aside' };
    const rows = await queryRows(
      client,
      `SELECT source_schema || '.' || source_table AS table, count(*)::text AS rows FROM crossfade.blocked
          WHERE name = $1 AND discarded_at IS NULL GROUP BY 1 ORDER BY 1`,
      [name],
    );
    if (rows.length === 0) return { evidence: 'no row is set aside' };
    return {
      closed: { code: 'CF-8322' },
      evidence: `set aside: ${listNames(
        rows.map(({ table, rows: count }) => `${count} rows of ${table}`),
        5,
      )}`,
    };
  });
}

export function findingsGate(parts: TableGateParts): Gate {
  return pipelineGate('findings', parts, async ({ client, name }) => {
    if (!(await has(client, 'crossfade.finding'))) return { evidence: 'no row is known to differ' };
    const rows = await queryRows(
      client,
      `SELECT source_table AS table, sum(rows)::text AS rows, min(state) AS state FROM crossfade.finding
          WHERE name = $1 AND state IN ('confirmed', 'repairing') GROUP BY 1 ORDER BY 1`,
      [name],
    );
    if (rows.length === 0) return { evidence: 'no row is known to differ' };
    return {
      closed: { code: 'CF-8323' },
      evidence: `known to differ: ${listNames(
        rows.map(({ table, rows: count }) => `${count} rows of ${table}`),
        5,
      )}`,
    };
  });
}

/** What the reverse reader saw of others' writes on the side that does not serve. One flip, one gate: it remembers what there was when it was begun. */
export function purityGate({ migration, sessions }: TableGateParts): Gate {
  let before: number | undefined;
  return {
    name: 'purity',
    phases: ['begin', 'again', 'fence'],
    look: async ({ kind, phase }): Promise<GateVerdict> => {
      const to = flipTo(kind);
      const reader = pipelineName(migration, to);
      if (kind === 'cutover' && migration.cutover.strategy === 'dual-write')
        return { isSkipped: true, evidence: 'the application writes the target too: the comparisons tell what is left of it' };
      if (reader === undefined) return { isSkipped: true, evidence: `nothing reads what is written on the ${to}` };
      // Counted where it is read (services/up/reverse/foreign-gate.ts), not where that direction's progress lies.
      const rows = await sessions.run(to, async (client) =>
        (await has(client, 'crossfade.foreign_writes')) ? queryRows(client, FOREIGN, [reader, FOREIGN_MINUTES]) : [],
      );
      const seen = listNames(
        rows.map(({ table, changes }) => `${changes} rows of ${table}`),
        5,
      );
      const changed = rows.reduce((sum, { changes }) => sum + Number(changes), 0);
      if (phase === 'begin') before = changed;
      // The comparison of everything had passed them, perhaps.
      if (phase !== 'begin' && before !== undefined && changed > before)
        return {
          closed: { code: 'CF-8326' },
          evidence: `others changed ${changed - before} rows on the ${to} since it was begun: ${seen}`,
        };
      if (rows.length === 0) return { evidence: `nobody else was seen to write to the ${to}` };
      if (rows.every(({ recent }) => recent === 'false'))
        return { evidence: `others changed on the ${to} earlier: ${seen}; the comparison tells what is left of it` };
      return { closed: { code: 'CF-8326' }, evidence: `others changed on the ${to} within ${FOREIGN_MINUTES} minutes: ${seen}` };
    },
  };
}

/** What is older was found by the comparison, if it left anything. */
const FOREIGN_MINUTES = 2;
const FOREIGN = `SELECT table_name AS table, changes::text AS changes, (last_at > clock_timestamp() - $2 * interval '1 min')::text AS recent
  FROM crossfade.foreign_writes WHERE name = $1 AND changes > 0 ORDER BY 1`;
