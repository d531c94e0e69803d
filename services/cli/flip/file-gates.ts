/** Gates that go by the file, and by what people did with it: plan, approvals, backup, reads, what finds its way back, schema migrations. */
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { readApprovals } from '#connectors/target/postgres/approvals.ts';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import { readPlanRecord } from '#connectors/target/postgres/plan-record.ts';
import { listNames } from '#schemas/finding.ts';
import { stageOf } from '#schemas/flags/evaluate.ts';
import { readsOf } from '#schemas/flags/read-rules.ts';
import type { ReverseTable } from '#schemas/mapping/reverse/derive-reverse.ts';
import { describeLoss, isAccepted, lossyTables } from '#schemas/mapping/reverse/reverse-findings.ts';
import { approvalGates, short } from '#schemas/migration/approvals.ts';
import { backupGate } from '#schemas/migration/backup.ts';
import { flipTo } from '#services/control/flip/ports.ts';
import type { Gate, GateVerdict } from '#services/control/gates/gates.ts';
import type { FlippedMigration } from '#services/control/postgres/flipped-migration.ts';
import type { SideSessions } from '#services/control/postgres/sessions.ts';
import { checkSchemaHistory } from '../check/schema-history.ts';

export interface FileGateParts {
  readonly migration: FlippedMigration;
  readonly sessions: SideSessions;
  readonly planHash: string;
  readonly reverseTables: readonly ReverseTable[];
  /** Columns and tables of the target that the source has nothing for. */
  readonly kept: readonly string[];
}

export function fileGates(parts: FileGateParts): Gate[] {
  return [reversibleGate(parts), ...savedGate(parts), planGate(parts), approvalsGate(parts), readsGate(parts), schemaGate(parts)];
}

/** What is written on the target and does not come back is accepted table by table, in the file. */
function reversibleGate({ migration, reverseTables, kept }: FileGateParts): Gate {
  return {
    name: 'reversible',
    look: async ({ kind }): Promise<GateVerdict> => {
      if (kind === 'rollback' && kept.length > 0) {
        const remedy =
          'Add them to the source and to the file before it, if the application needs them there; else nothing. On the target they stay.';
        return {
          warning: { code: 'CF-8325', remedy },
          evidence: `the source has nothing for ${listNames(kept, 5)}: what is written there stays on the target`,
        };
      }
      if (kind === 'rollback') return { isSkipped: true, evidence: 'asked at the cut-over' };
      if (migration.file.reverse === 'off') return { isSkipped: true, evidence: 'the file says `reverse: off`' };
      const lossy = lossyTables(reverseTables);
      const open = lossy.filter((table) => !isAccepted(migration.cutover.accept, table));
      if (open.length > 0) {
        const remedy = `Accept it: cutover: { accept: [${open.map(({ from }) => from).join(', ')}] }; or change the mapping, so that it goes back.`;
        return { closed: { code: 'CF-8325', remedy }, evidence: listNames(open.map(describeLoss), 5) };
      }
      if (lossy.length > 0) return { evidence: `accepted: ${listNames(lossy.map(describeLoss), 5)}` };
      return { evidence: 'everything written on the target goes back' };
    },
  };
}

function planGate({ migration, sessions, planHash }: FileGateParts): Gate {
  return {
    name: 'plan',
    look: async (): Promise<GateVerdict> => {
      const record = await sessions.run('target', async (client) => readPlanRecord(client, migration.name));
      const now = short(planHash);
      if (record === undefined) return { closed: { code: 'CF-8328' }, evidence: 'no plan is recorded: nothing ever ran' };
      if (record.hash !== planHash)
        return {
          closed: {
            code: 'CF-8328',
            remedy: 'Start crossfade up again with the file as it is now, or undo the change of the file or the tables.',
          },
          evidence: `file and databases give plan ${now}; what runs is ${short(record.hash)}`,
        };
      return { evidence: `${now}${record.signed ? ', signed' : ''}, as it runs since ${record.since}` };
    },
  };
}

/** None where the file asks for no backup. */
function savedGate({ migration }: FileGateParts): Gate[] {
  const { backup: entry } = migration.file;
  if (entry === undefined) return [];
  return [
    {
      name: 'backup',
      phases: ['begin'],
      look: async ({ kind }): Promise<GateVerdict> => {
        if (kind === 'rollback') return { isSkipped: true, evidence: 'asked at the cut-over' };
        const { isOpen, evidence, remedy } = backupGate(entry, await readAudit(migration.urls.target, migration.name), Date.now());
        return isOpen ? { evidence } : { closed: { code: 'CF-8602', remedy }, evidence };
      },
    },
  ];
}

function approvalsGate({ migration, planHash }: FileGateParts): Gate {
  return {
    name: 'approvals',
    look: async ({ kind, drill }): Promise<GateVerdict> => {
      if (drill) return { isSkipped: true, evidence: 'a drill needs none' };
      const approvals = await readApprovals(migration.urls.target, migration.name);
      const gates = approvalGates(kind, { required: migration.file.approvals, approvals, planHash });
      const closed = gates.filter(({ isOpen }) => !isOpen);
      const evidence = (closed.length > 0 ? closed : gates).map((gate) => `${gate.gate}: ${gate.evidence}`).join('; ');
      if (closed.length > 0) return { closed: { code: 'CF-8329', remedy: closed.map(({ remedy }) => remedy).join('; ') }, evidence };
      return { evidence: evidence === '' ? 'the file asks for none' : evidence };
    },
  };
}

function readsGate({ migration }: FileGateParts): Gate {
  return {
    name: 'reads',
    look: async ({ kind, drill }): Promise<GateVerdict> => {
      if (kind === 'rollback' || drill)
        return { isSkipped: true, evidence: drill ? 'a drill moves nobody' : 'reads may stay where they are' };
      const { reads, strategy } = migration.cutover;
      if (strategy === 'dual-write') return stageVerdict(migration);
      if (reads === 'with-writes') return { evidence: 'reads flip with the writes, as the file says' };
      const record = new FlagRecord(migration.urls.target, migration.name);
      try {
        const { rules, serves } = await record.read();
        const from = readsOf(rules, serves);
        const isUnset = rules === undefined || rules.followsWrites;
        if (isUnset && reads === undefined) return { evidence: 'no read flag is set: reads flip with the writes' };
        if (from === flipTo(kind)) return { evidence: 'reads come from the target' };
        return { closed: { code: 'CF-8330' }, evidence: `reads come from ${from === 'mixed' ? 'both sides' : `the ${from}`}` };
      } finally {
        await record.close();
      }
    },
  };
}

/** From then on both stores are read, so all that is left to flip is who decides. */
async function stageVerdict({ urls, name }: FlippedMigration): Promise<GateVerdict> {
  const record = new FlagRecord(urls.target, name);
  try {
    const stage = stageOf(await record.read()) ?? 'off';
    const evidence = `dual writes: ${stage}`;
    return stage === 'shadow' ? { evidence } : { closed: { code: 'CF-8405' }, evidence };
  } finally {
    await record.close();
  }
}

function schemaGate({ migration, sessions }: FileGateParts): Gate {
  return {
    name: 'schema',
    look: async (): Promise<GateVerdict> => {
      const look = async (side: 'source' | 'target'): Promise<string[]> => {
        const findings = await sessions.run(side, async (client) => checkSchemaHistory(client, side, migration.file));
        return findings.filter(({ severity }) => severity === 'error').map(({ message }) => message);
      };
      const troubles = [...(await look('source')), ...(await look('target'))];
      if (troubles.length > 0) return { closed: { code: 'CF-8331' }, evidence: troubles.join('; ') };
      return { evidence: 'no schema migration is pending' };
    },
  };
}
