/**
 * Gate `sequences`: those of the side that will serve have values left beyond what the other side has handed out. Guarantee: changes nothing; it computes where they would go
 * on by what the flip itself sets them by.
 */
import { readValues } from '#connectors/fence/postgres/sequences.ts';
import { lookAhead, type SequenceOutlook } from '#connectors/fence/postgres/set-sequences.ts';
import { describeNamed } from '#connectors/fence/postgres/named-sequences.ts';
import { listNames } from '#schemas/finding.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { judgeSequences, type SequenceRoom } from '#schemas/sequence-room.ts';
import { flipTo } from '../flip/ports.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';
import { type FlippedMigration, sequenceStarts } from '../postgres/flipped-migration.ts';
import { namedOutlooks } from '../postgres/named-sequences.ts';

export function sequencesGate({ migration, sessions }: TableGateParts): Gate {
  return {
    name: 'sequences',
    // What is used up in between the flip itself finds, and backs out.
    phases: ['begin'],
    look: async ({ kind }): Promise<GateVerdict> => {
      const to = flipTo(kind);
      const values = await sessions.run(otherSide(to), async (client) => readValues(client, migration.tables[otherSide(to)]));
      const starts = sequenceStarts(migration, to, values);
      const outlooks = await sessions.run(to, async (client) => lookAhead(client, starts));
      const { used, noted } = judgeSequences(outlooks.map((one) => roomOf(one, migration, to)));
      if (used.length > 0) return { closed: { code: 'CF-8332' }, evidence: `no values are left on the ${to}: ${listNames(used, 5)}` };
      const fed = new Set(outlooks.flatMap(({ wanted }) => wanted.flatMap(({ from }) => (from === undefined ? [] : [from]))));
      const alone = values.filter((one) => starts.some(({ from }) => from === one) && !fed.has(one));
      const lacking = alone.map(({ columns: [column] }) => `${column!.schema}.${column!.name}.${column!.column}`);
      const named = await namedOutlooks({ migration, sessions }, to);
      const told = [
        ...noted,
        ...describeNamed(named, to),
        ...(lacking.length === 0
          ? []
          : [`no sequence of the ${to} feeds what one of the ${otherSide(to)} feeds: ${listNames(lacking, 5)}`]),
      ];
      const n = outlooks.length + named.filter(({ state }) => state === 'known').length;
      const evidence = `${n === 1 ? '1 sequence' : `${n} sequences`} of the ${to} would go on beyond what was handed out`;
      return told.length === 0 ? { evidence } : { evidence: `${evidence}; ${listNames(told, 5)}`, warning: { code: 'CF-8332' } };
    },
  };
}

function roomOf({ own, result }: SequenceOutlook, { mapping }: FlippedMigration, to: Side): SequenceRoom {
  const { sequence, columns, increment, min, max, cycles } = own;
  const types = mapping.tables.flatMap((table) => {
    const { schema, name } = to === 'target' ? table.to : table.from;
    return table.columns.flatMap(({ target, targetBaseType, source }) => {
      const [column, type] = to === 'target' ? [target, targetBaseType] : [source.name, source.baseType];
      return columns.some((one) => one.schema === schema && one.name === name && one.column === column) ? [type] : [];
    });
  });
  return { name: `${sequence.schema}.${sequence.name}`, increment, min, max, cycles, types, next: result };
}
