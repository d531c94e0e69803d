/**
 * Gate `triggers`: rows that come back are written as they were on the target. Guarantee: read-only; open only when no trigger of the source would change one, or
 * the file accepts it: else the way back differs with the first row that it brings, and a rollback is refused.
 */
import { actingRemedy, actingTriggers } from '#connectors/target/postgres/preflight/acting-triggers.ts';
import { listNames } from '#schemas/finding.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { isAccepted } from '#schemas/mapping/reverse/reverse-findings.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { FlippedMigration } from '../postgres/flipped-migration.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

const SHOWN = 5;

export interface TriggersGateParts extends Pick<TableGateParts, 'sessions'> {
  readonly migration: {
    readonly cutover: Pick<FlippedMigration['cutover'], 'accept'>;
    readonly reverse: { readonly mapping: Pick<CompiledMapping, 'tables'> } | undefined;
  };
}

export function triggersGate({ migration, sessions }: TriggersGateParts): Gate {
  return {
    name: 'triggers',
    phases: ['begin'],
    look: async ({ kind }): Promise<GateVerdict> => {
      if (kind === 'rollback') return { isSkipped: true, evidence: 'what was copied has been compared' };
      const { reverse, cutover } = migration;
      if (reverse === undefined) return { isSkipped: true, evidence: 'nothing goes back' };
      const tables = reverse.mapping.tables.map(({ to }) => to);
      const { triggers, grant } = await sessions.run('source', async (client) => actingTriggers(client, tables));
      const open = triggers.filter(({ table }) => !isAccepted(cutover.accept, { from: showTable(table) }));
      const said = (some: typeof triggers): string =>
        listNames(
          some.map(({ title }) => title),
          SHOWN,
        );
      if (open.length > 0) {
        const remedy = actingRemedy({ triggers: open, grant });
        return { closed: { code: 'CF-8206', remedy }, evidence: `of the source act on rows that come back: ${said(open)}` };
      }
      if (triggers.length > 0) return { evidence: `accepted: ${said(triggers)}` };
      return { evidence: 'none of the source changes a row that comes back' };
    },
  };
}
