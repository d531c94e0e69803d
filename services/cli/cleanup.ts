/**
 * `cleanup`: what Crossfade has put on either side goes. Guarantee: only after the sign-off, or with `--abort` of a migration whose source serves; never while
 * something runs; what it takes away it lists, and the audit trail stays unless its removal is asked for by name.
 */
import { readApprovals } from '#connectors/target/postgres/approvals.ts';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { RemnantPlace } from '#connectors/remnants/postgres/read-remnants.ts';
import { pipelineSessions } from '#connectors/remnants/postgres/remove-remnant.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { approvalGates } from '#schemas/migration/approvals.ts';
import type { Gate } from '#schemas/migration/gate.ts';
import { runningGate, stateGates } from '#schemas/report/cleanup-gates.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { installTestHooksFrom } from '#services/up/test-hook-environment.ts';
import { type Asked, type CleanupPlaces, cleanUp, type Fate, goes, listRemnants } from './cleanup/act.ts';
import { otherWaves } from './cleanup/other-waves.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadTargets, waveOption } from './migration-input.ts';
import { currentPlan } from './plan/current-plan.ts';
import { renderTable } from './render.ts';

export const cleanupCommand: CommandSpec = {
  name: 'cleanup',
  about:
    'Take away what Crossfade has put on source and target: slots, publications, fences, its schema. After the sign-off, or to give up.',
  examples: [
    ['crossfade cleanup --dry-run', 'list what is there, what would go, and the gates'],
    ['crossfade cleanup --confirm shop', 'the audit trail on the target stays'],
    ['crossfade cleanup --confirm shop --target-schema --data-directory', 'nothing stays: write the report first'],
    ['crossfade cleanup --abort --confirm shop', 'give up a migration whose source serves; rows on the target stay'],
  ],
  configure: (command) => {
    command
      .option('--confirm <name>', "the migration's name, typed by hand")
      .option('--dry-run', 'only list: changes nothing')
      .option('--abort', 'give the migration up; only while the source serves')
      .option('--target-schema', 'also the schema crossfade on the target, with the audit trail')
      .option('--data-directory', 'also the data directory on this machine');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { options, io } = context;
  installTestHooksFrom(io.environment);
  const { file, targets, dataDir } = await loadTargets(context);
  const abort = options.flag('abort');
  const asked: Asked = { targetSchema: options.flag('targetSchema'), dataDirectory: options.flag('dataDirectory') };
  const places = await placesOf({ file, targets, dataDir });
  const found = await listRemnants(places);
  const gates = await gatesOf(targets, places, abort);
  if (options.flag('dryRun')) return listed(file.name, { found, asked, gates });
  if (
    !found.some((one) => goes(one, asked)) &&
    gates.every(({ isOpen, gate }) => isOpen || gate === 'state') &&
    !(await hasStarted(places))
  )
    return { summary: `${file.name}: nothing is left to be taken away`, result: { name: file.name, removed: [], left: found.map(shown) } };
  if (options.text('confirm') !== file.name) {
    throw new PipelineError('CF-1007', 'a clean-up cannot be undone: it has to be confirmed', {
      remedy: `Look first: crossfade cleanup${waveOption(file)} --dry-run. Then type the migration's name: crossfade cleanup${waveOption(file)}${abort ? ' --abort' : ''} --confirm ${file.name}`,
    });
  }
  if (gates.some(({ isOpen }) => !isOpen)) return closed(file.name, gates);
  const fates = await cleanUp({ places, asked, abort, onFate: (fate) => context.log.info({ ...shown(fate.remnant) }, fate.became) });
  return outcomeOf(file.name, { fates, rest: await listRemnants(places) });
}

async function placesOf({
  file,
  targets,
  dataDir,
}: {
  readonly file: MigrationFile;
  readonly targets: readonly MigrationFile[];
  readonly dataDir: string;
}): Promise<CleanupPlaces> {
  const { name } = file;
  const waves = await otherWaves(file);
  return {
    file,
    dataDir,
    source: { url: file.source.postgres, name, side: 'source', place: 'source', waves },
    targets: targets.map((view) => ({
      url: postgresTarget(view, 'cleanup'),
      name,
      side: 'target',
      place: view.targetName === undefined ? 'target' : `target ${view.targetName}`,
      waves,
    })),
  };
}

/** Whether any target still has a state that has not ended. */
async function hasStarted({ targets }: CleanupPlaces): Promise<boolean> {
  const rows = await Promise.all(targets.map(async ({ url, name }) => readState(url, name)));
  return rows.some((row) => row !== undefined && row.state !== 'cleaned-up');
}

async function gatesOf(targets: readonly MigrationFile[], places: CleanupPlaces, abort: boolean): Promise<Gate[]> {
  const own = await Promise.all(targets.map(async (file, i) => targetGates(file, places.targets[i]!, abort)));
  const except = ['crossfade cleanup', `crossfade ${places.source.name} control`];
  const sessions = await Promise.all([places.source, ...places.targets].map(async (place) => pipelineSessions(place, except)));
  return [...own.flat(), runningGate(sessions.flat())];
}

async function targetGates(file: MigrationFile, { url }: RemnantPlace, abort: boolean): Promise<Gate[]> {
  const { name } = file;
  const row = await readState(url, name);
  const facts = {
    name,
    target: file.targetName,
    state: row?.state,
    abort,
    audit: await readAudit(url, name),
    afterMs: file.cleanup?.afterMs ?? 0,
    nowMs: Date.now(),
  };
  const required = file.approvals?.filter(({ subject }) => subject === 'cleanup') ?? [];
  // Half done, it was signed for when it began.
  if (required.length === 0 || row?.state === 'cleaned-up') return stateGates(facts);
  const { plan } = await currentPlan(file);
  return [...stateGates(facts), ...approvalGates('cleanup', { required, approvals: await readApprovals(url, name), planHash: plan.hash })];
}

function shown({ place, kind, name, detail }: Remnant): object {
  return { place, kind, name, detail };
}

function listed(
  name: string,
  { found, asked, gates }: { readonly found: readonly Remnant[]; readonly asked: Asked; readonly gates: readonly Gate[] },
): Outcome {
  const going = found.filter((one) => goes(one, asked));
  const staying = found.filter((one) => !goes(one, asked));
  const shut = gates.filter(({ isOpen }) => !isOpen);
  const rows = [...going.map((one) => [one, 'goes'] as const), ...staying.map((one) => [one, `stays: ${one.how ?? ''}`] as const)];
  return {
    summary: `${name}: ${going.length} would go, ${staying.length} stay${shut.length === 0 ? '' : `; closed: ${shut.map(({ gate }) => gate).join(', ')}`}`,
    result: { name, going: going.map(shown), staying: staying.map(shown), gates },
    text: [
      renderTable(
        ['where', 'what', 'name', '', ''],
        rows.map(([one, what]) => [one.place, one.kind, one.name, one.detail, what]),
      ),
      ...shut.map(({ gate, evidence, remedy }) => `closed: ${gate}: ${evidence}\n  ${remedy}\n`),
    ].join('\n'),
  };
}

function closed(name: string, gates: readonly Gate[]): Outcome {
  const shut = gates.filter(({ isOpen }) => !isOpen);
  const message = `${name} is not cleaned up: ${shut.map(({ gate, evidence }) => `${gate}: ${evidence}`).join('; ')}`;
  return {
    summary: message,
    result: { name, removed: [], gates },
    error: new PipelineError('CF-8501', message, { remedy: shut[0]!.remedy }),
    findings: shut.map(({ gate, evidence, remedy }) => errorFinding('CF-8501', `gate ${gate}: ${evidence}`, remedy)),
  };
}

function outcomeOf(name: string, { fates, rest }: { readonly fates: readonly Fate[]; readonly rest: readonly Remnant[] }): Outcome {
  const removed = fates.filter(({ became }) => became === 'removed');
  const failed = fates.flatMap(({ error }) => error ?? []);
  const [first] = failed;
  const stays = rest.length === 0 ? 'nothing is left' : `left: ${rest.map((one) => `${one.kind} ${one.name} (${one.place})`).join(', ')}`;
  return {
    summary: `${name}: ${removed.length} removed; ${stays}`,
    result: { name, removed: removed.map(({ remnant }) => shown(remnant)), left: rest.map(shown) },
    text: renderTable(
      ['where', 'what', 'name', ''],
      fates.map(({ remnant, became }) => [remnant.place, remnant.kind, remnant.name, became]),
    ),
    ...(first !== undefined && { error: first, findings: failed.map(({ code, message, remedy }) => errorFinding(code, message, remedy)) }),
  };
}
