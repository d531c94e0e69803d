/** Gate `rights`: our roles may raise and lift the fences, and set the sequences. Guarantee: read-only; both sides are looked at, since a rollback is no moment to ask for a GRANT. */
import { type MissingRight, missingRights, type RightsAsked, rightsFor } from '#connectors/fence/postgres/rights.ts';
import type { FlippedMigration } from '../postgres/flipped-migration.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { flipTo } from '../flip/ports.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

export function rightsGate({ migration, sessions }: TableGateParts): Gate {
  return {
    name: 'rights',
    phases: ['begin'],
    look: async ({ kind }): Promise<GateVerdict> => {
      const leaves = otherSide(flipTo(kind));
      const on = async (side: Side): Promise<Lack[]> => {
        const missing = await sessions.run(side, async (client) => missingRights(client, askedOf(migration, side, leaves)));
        return missing.map((right) => ({ ...right, side }));
      };
      const lacking = [...(await on('source')), ...(await on('target'))];
      if (lacking.length === 0) return { evidence: 'fences and sequences of both sides are ours to set' };
      const closed = { code: 'CF-8102', remedy: lacking.map(({ side, remedy }) => `On the ${side}: ${remedy}`).join(' ') } as const;
      return { closed, evidence: lacking.map(({ message }) => message).join('; ') };
    },
  };
}

interface Lack extends MissingRight {
  readonly side: Side;
}

function askedOf({ name, tables, swap, reverse }: FlippedMigration, side: Side, leaves: Side): RightsAsked {
  const goesBack = reverse !== undefined || swap !== undefined;
  return { name, side, tables: tables[side], ...rightsFor(side, { leaves, goesBack }), ...(swap !== undefined && { swap: swap[side] }) };
}
