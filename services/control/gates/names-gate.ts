/** Whether the names of both sides can be exchanged. Guarantee: open only when nothing that the catalogues show would follow the wrong table afterwards. */
import { movesOf } from '#connectors/fence/postgres/swap-names.ts';
import { listNames } from '#schemas/finding.ts';
import { tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { quoteTable } from '#schemas/table.ts';
import { flipTo } from '../flip/ports.ts';
import type { FlippedMigration } from '../postgres/flipped-migration.ts';
import type { Gate, GateVerdict } from './gates.ts';
import { databaseIdentity, leftByNames, type LeftByNames, occupiedNames, type RenamedTable, type SwappedPair } from './left-by-names.ts';
import type { TableGateParts } from './table-gates.ts';

const SHOWN = 5;

/** Only where the file's strategy is the rename swap. */
export function namesGate(parts: TableGateParts): Gate {
  const { migration, sessions } = parts;
  return {
    name: 'names',
    look: async ({ kind }): Promise<GateVerdict> => {
      const closed = { code: 'CF-8341' } as const;
      const shape = unswappable(migration);
      if (shape !== undefined) return { closed, evidence: shape };
      const here = await sessions.run('source', databaseIdentity);
      const there = await sessions.run('target', databaseIdentity);
      if (here !== there) return { closed, evidence: 'source and target are two databases: names are swapped within one only' };
      const pairs = migration.mapping.tables.map((table) => pairOf(table, otherSide(flipTo(kind))));
      return await sessions.run('source', async (client): Promise<GateVerdict> => {
        const occupied = await occupiedNames(client, renamedBy(migration, otherSide(flipTo(kind))));
        if (occupied.length > 0) return { closed, evidence: `there is already ${listNames(occupied, SHOWN)}` };
        return verdictOf(await leftByNames(client, migration.name, pairs));
      });
    },
  };
}

function pairOf({ from, to }: TableMapping, leaving: Side): SwappedPair {
  return leaving === 'source' ? { leaving: from, coming: to } : { leaving: to, coming: from };
}

/** As the fence of the side that loses the names will move them. */
function renamedBy({ swap, tables }: FlippedMigration, leaving: Side): RenamedTable[] {
  if (swap === undefined) return [];
  const left = new Set(tables[leaving].map(tableId));
  return movesOf(tables[leaving], swap[leaving]).map((move) => ({ ...move, isLeaving: left.has(tableId(move.from)) }));
}

function verdictOf({ dependents, grants, otherColumns, otherTriggers }: LeftByNames): GateVerdict {
  const closed = { code: 'CF-8341' } as const;
  if (dependents.length > 0) return { closed, evidence: listNames(dependents, SHOWN) };
  if (grants.length > 0) {
    return {
      closed: { ...closed, remedy: listNames(grants, 20).replaceAll(';, ', '; ') },
      evidence: `${grants.length} privileges are not granted on the tables that get the names`,
    };
  }
  const notes = [
    ...(otherColumns.length === 0
      ? []
      : [
          `columns of ${listNames(otherColumns, SHOWN)} have other types or places: prepared statements that give them fail (0A000) until they are prepared anew`,
        ]),
    ...(otherTriggers.length === 0 ? [] : [`trigger ${listNames(otherTriggers, SHOWN)} is on the table that loses its name only`]),
  ];
  if (notes.length > 0) return { evidence: notes.join('; '), warning: { code: 'CF-8341' } };
  return { evidence: 'nothing knows the tables by more than their names' };
}

/** What the exchange is not built for. */
function unswappable({ file, mapping, reverse }: FlippedMigration): string | undefined {
  const { tables } = mapping;
  if (file.settings.log.kafka !== undefined) return 'the services over Kafka keep topics by the names of tables';
  if (file.settings.reconcile.stream === true) return 'reconcile: { stream: true } keeps digests by the names of tables';
  if (reverse === undefined) return 'nothing goes back, and what lost its name could not follow';
  const sources = new Set(tables.map(({ from }) => tableId(from)));
  const targets = new Set(tables.map(({ to }) => tableId(to)));
  if (sources.size < tables.length || targets.size < tables.length) return 'a table is in more than one entry';
  const both = tables.find(({ to }) => sources.has(tableId(to)));
  if (both !== undefined) return `${quoteTable(both.to)} is a source and a target`;
  const odd = tables.find(({ explode, columns }) => explode !== undefined || columns.some(({ keyMap }) => keyMap !== undefined));
  return odd === undefined ? undefined : `${quoteTable(odd.to)} has rows of its own making`;
}
