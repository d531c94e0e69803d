/**
 * `flags`: which store applications read, and which they write. Guarantee: works on the target's state row, so with or without a running instance (one
 * that runs knows within a second); writes are never moved here; each change passes the gate and leaves an audit record of who and why.
 */
import { userInfo } from 'node:os';
import type { FlagStore } from '#connectors/flags/flags.ts';
import { PipelineError } from '#schemas/errors.ts';
import { DUAL_STAGES, type DualStage } from '#schemas/flags/dual-stages.ts';
import { decideRead, evaluate, type EvaluationContext, flagKeys, stageOf } from '#schemas/flags/evaluate.ts';
import { type FlagDocument, revisionOf } from '#schemas/flags/flag-document.ts';
import {
  qualified,
  READ_STAGES,
  type ReadStage,
  type ReadsValue,
  readsOf,
  type RulesChange,
  type RuleSet,
} from '#schemas/flags/read-rules.ts';
import { requireReadsGate } from '#schemas/flags/reads-gate.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { flagsUrl, openFlagStore } from '#services/flags/open-store.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { askInstance, urlOption } from './instance-command.ts';
import { loadWhole } from './migration-input.ts';
import type { Options } from './options.ts';
import { renderTable } from './render.ts';
import { readStoredStatus } from './status/stored-status.ts';

export const flagsCommand: CommandSpec = {
  name: 'flags',
  about:
    'Which store applications read: look at the flags, or send reads to the target step by step. Writes move with cutover only. Of dual writes: the stage.',
  examples: [
    ['crossfade flags get', 'the rules, and who serves'],
    ['crossfade flags get --key acme', 'what one tenant or user gets'],
    ['crossfade flags set --reads shadow', 'everybody reads both stores, and gets the answer of the one that serves'],
    ['crossfade flags set --reads 10%', 'one in ten units reads the target; raising it later keeps these'],
    ['crossfade flags set --reads target --tenant acme', 'one tenant, whatever the percentage'],
    ['crossfade flags set --reads target --table public.orders', 'one table'],
    ['crossfade flags set --stage shadow', 'dual writes: one step on or back; from shadow to live it is crossfade cutover'],
    ['crossfade flags set --kill', 'everybody reads where writes go, until --release'],
  ],
  configure: (command) => {
    urlOption(command);
    command
      .argument('<action>', 'get | set')
      .option('--reads <value>', 'set: source, shadow, target, N% (of units read the target), shadow:N% (read both), or default')
      .option('--tenant <name>', 'set: only this tenant or user')
      .option('--table <schema.table>', 'set: only this table of the source; get: as it is for this table')
      .option('--stage <stage>', `set: of dual writes: ${DUAL_STAGES.join(', ')}`)
      .option('--kill', 'set: all reads go where writes go')
      .option('--release', 'set: takes --kill back')
      .option('--with-writes', 'set: gives up all rules; reads follow writes')
      .option('--key <unit>', 'get: what this tenant or user gets')
      .option('--reason <text>', 'set: why; recorded')
      .option('--by <name>', 'set: who (default: the user of this session)');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const [action] = context.args;
  if (action === 'get') return withStore(context, async (store) => get(await store.read(), context));
  if (action === 'set') return setFlags(context);
  throw wrong(`flags ${action ?? ''}: there is no such action`, 'Say one of: get, set.');
}

function wrong(message: string, remedy: string): PipelineError {
  return new PipelineError('CF-1007', message, { remedy });
}

/** @throws PipelineError CF-8402 */
async function withStore<T>(context: CommandContext, act: (store: FlagStore) => Promise<T>): Promise<T> {
  const { file } = await loadWhole(context);
  const url = flagsUrl(file);
  if (url === undefined) throw new PipelineError('CF-8402', `migration ${file.name} has no single PostgreSQL target, so it keeps no flags`);
  const store = openFlagStore(url, file.name);
  try {
    return await act(store);
  } finally {
    await store.close();
  }
}

function get(document: FlagDocument, { options, paint }: CommandContext): Outcome {
  const key = options.text('key');
  const table = options.text('table');
  const result = { ...document, revision: revisionOf(document) };
  if (key === undefined && table === undefined) {
    const lines = [
      `${paint.bold(document.name)}  writes ${paint.cyan(document.serves)}, epoch ${document.epoch}`,
      ...describeRules(document),
    ];
    return { summary: describe(document), result, text: `${lines.join('\n')}\n` };
  }
  const context: EvaluationContext = { ...(key !== undefined && { targetingKey: key }), ...(table !== undefined && { table }) };
  const flags = flagKeys(document).flatMap((flag) => evaluate(document, flag, context) ?? []);
  const { stage, rule } = decideRead(document, context);
  return {
    summary: `${key ?? 'a unit without a name'} reads ${stage}${table === undefined ? '' : ` in ${qualified(table)}`} (${rule}) and writes ${document.serves}`,
    result: { ...result, flags },
  };
}

function describe(document: FlagDocument): string {
  const { rules, serves } = document;
  const dual = stageOf(document);
  if (rules?.kill !== true && dual !== undefined) return `dual writes: ${dual}; ${serves} decides`;
  if (rules?.kill === true) return `reads are called back to where writes go: ${serves}`;
  if (rules === undefined || rules.followsWrites) return `reads follow writes: ${serves}`;
  const reads = readsOf(rules, serves);
  return `writes go to ${serves}, reads ${reads === 'mixed' ? 'to both by rule' : `are answered by ${reads}`}`;
}

function describeRules(document: FlagDocument): string[] {
  const { rules } = document;
  const dual = stageOf(document);
  if (dual !== undefined) return [`  dual writes: ${dual}${rules?.kill === true ? ', but reads are killed: they go where writes go' : ''}`];
  if (rules === undefined || rules.followsWrites) return ['  reads follow writes: no read flag is set'];
  const sets: (readonly [string, RuleSet])[] = [['all tables', rules.all], ...Object.entries(rules.tables)];
  const rows = sets.map(([table, set]) => [
    table,
    set.stage,
    `${set.targetPercent} %`,
    `${set.shadowPercent} %`,
    Object.entries(set.tenants)
      .map(([tenant, stage]) => `${tenant}: ${stage}`)
      .join(', '),
  ]);
  return [
    ...(rules.kill ? ['  killed: the rules below wait'] : []),
    renderTable(['table', 'reads', 'target', 'shadow', 'tenants'], rows, [2, 3]),
  ];
}

async function setFlags(context: CommandContext): Promise<Outcome> {
  const change = readChange(context.options);
  if (change.kind === 'stage') await requireStrategy(context);
  const reason = context.options.text('reason');
  const actor = context.options.text('by') ?? userInfo().username;
  return withStore(context, async (store) => {
    const document = await store.read();
    if (needsStatus(change)) requireReadsGate({ document, change, status: await statusNow(context) });
    const changed = await store.change(change, { actor, ...(reason !== undefined && { reason }) }, document.rules?.version ?? 0);
    return {
      summary: describe(changed),
      result: { ...changed, revision: revisionOf(changed) },
      text: `${describeRules(changed).join('\n')}\n`,
    };
  });
}

/** @throws PipelineError CF-8404 */
async function requireStrategy(context: CommandContext): Promise<void> {
  const { file } = await loadWhole(context);
  if (file.cutover?.strategy !== 'dual-write')
    throw new PipelineError('CF-8404', `${file.name} is not migrated by dual writes, so it has no stages`);
}

/** Calling reads back must work however things stand. */
function needsStatus(change: RulesChange): boolean {
  return change.kind === 'reads' || change.kind === 'stage' || (change.kind === 'kill' && !change.kill);
}

async function statusNow(context: CommandContext): Promise<StatusResult> {
  const running = await askInstance(context);
  if (running !== undefined) return running;
  const { file, dataDir } = await loadWhole(context);
  return (await readStoredStatus(file, dataDir)).status;
}

/** @throws PipelineError CF-1007 */
function readChange(options: Options): RulesChange {
  const reads = options.text('reads');
  const stage = options.text('stage');
  const given = [reads !== undefined, stage !== undefined, options.flag('kill'), options.flag('release'), options.flag('withWrites')];
  if (given.filter(Boolean).length !== 1)
    throw wrong('flags set changes one thing', 'Give one of --reads VALUE, --stage STAGE, --kill, --release, --with-writes.');
  const [tenant, table] = [options.text('tenant'), options.text('table')];
  if (reads === undefined) {
    if (tenant !== undefined || table !== undefined)
      throw wrong('--tenant and --table go with --reads', 'Leave them out: it is for everybody.');
    if (stage !== undefined) return { kind: 'stage', stage: readStage(stage) };
    return options.flag('withWrites') ? { kind: 'follow-writes' } : { kind: 'kill', kill: options.flag('kill') };
  }
  const value = readValue(reads);
  if (tenant !== undefined && typeof value === 'object')
    throw wrong('a percentage is of all units that are not named', 'Leave --tenant out, or name a store.');
  return { kind: 'reads', reads: value, ...(tenant !== undefined && { tenant }), ...(table !== undefined && { table: qualified(table) }) };
}

function readStage(text: string): DualStage {
  const stage = DUAL_STAGES.find((one) => one === text);
  if (stage === undefined) throw wrong(`--stage ${JSON.stringify(text)} is not known`, `Give one of ${DUAL_STAGES.join(', ')}.`);
  return stage;
}

function readValue(text: string): ReadsValue {
  if (text === 'default' || READ_STAGES.includes(text as ReadStage)) return text as ReadsValue;
  const [, shadow, number] = /^(shadow:)?(\d{1,3}(?:\.\d{1,2})?)%?$/.exec(text) ?? [];
  if (number === undefined || Number(number) > 100)
    throw wrong(
      `--reads ${JSON.stringify(text)} is not known`,
      'Give source, shadow, target, a percentage like 10%, shadow:10%, or default.',
    );
  return shadow === undefined ? { targetPercent: Number(number) } : { shadowPercent: Number(number) };
}
