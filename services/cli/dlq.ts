/**
 * `dlq`: rows that the target refused and that were set aside. Guarantee: list and show read the target alone; retry writes nothing to the
 * target, the running instance copies the keys again in stream order; discard gives a row up for good and records who did and why.
 */
import { userInfo } from 'node:os';
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import { discardDeadLetters, readDeadLetters, type DeadLetter } from '#connectors/target/postgres/dead-letters.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { retryDeadLetters } from './dlq-retry.ts';
import { markersOf, urlOption, withControl } from './instance-command.ts';
import { loadTargets, targetOption, type TargetsInput } from './migration-input.ts';
import { formatCount, renderTable } from './render.ts';

const ACTIONS = ['list', 'show', 'retry', 'discard'] as const;
type Action = (typeof ACTIONS)[number];

export const dlqCommand: CommandSpec = {
  name: 'dlq',
  about: 'Rows that the target refused and that were set aside (onRowError: set-aside): list, show, retry or discard them.',
  examples: [
    ['crossfade dlq list', 'the rows set aside; exit 0 also when there are some'],
    ['crossfade dlq show 7 --values', 'one of them, with the values of its columns'],
    ['crossfade dlq retry 7 8', 'copy these keys again through the running instance; exit 0 when all were taken'],
    ['crossfade dlq retry --all', 'all of them'],
    ['crossfade dlq discard 7 --reason "test data"', 'give the row up; later changes of its key are applied again'],
  ],
  configure: (command) => {
    urlOption(command);
    targetOption(command);
    command
      .argument('<action>', ACTIONS.join(' | '))
      .argument('[ids...]', 'ids as list shows them')
      .option('--all', 'retry: all that are set aside')
      .option('--values', 'show: also the values of the row')
      .option('--discarded', 'list: also those that were discarded')
      .option('--reason <text>', 'discard: why; recorded')
      .option('--by <name>', 'discard: who (default: the user of this session)');
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const [action, ...ids] = context.args;
  if (!isAction(action)) throw wrong(`dlq ${action ?? ''}: there is no such action`, `Say one of: ${ACTIONS.join(', ')}.`);
  const bad = ids.find((id) => !/^\d{1,18}$/.test(id));
  if (bad !== undefined) throw wrong(`${JSON.stringify(bad)} is not an id`, 'Give ids as crossfade dlq list shows them.');
  if (action === 'list') return list(context);
  if (action === 'show') return show(context, ids);
  if (action === 'retry') return retry(context, ids);
  return discard(context, ids);
}

function isAction(word: string | undefined): word is Action {
  return ACTIONS.some((action) => action === word);
}

function wrong(message: string, remedy: string): PipelineError {
  return new PipelineError('CF-1007', message, { remedy });
}

interface Store {
  readonly client: pg.Client;
  readonly name: string;
  readonly target: string | undefined;
}

/** The one target that sets rows aside. @throws PipelineError CF-1007, CF-5010 */
function storeFile({ targets }: TargetsInput): MigrationFile {
  const databases = targets.filter(({ target }) => target.postgres !== undefined);
  if (databases.length < 2) return databases[0] ?? targets[0]!;
  const names = databases.flatMap(({ targetName }) => targetName ?? []);
  throw wrong(`rows may be set aside in several targets: ${names.join(', ')}`, `Say which: --target ${names[0]}.`);
}

async function withStore<T>(context: CommandContext, act: (store: Store) => Promise<T>): Promise<T> {
  const file = storeFile(await loadTargets(context));
  const client = await connect(postgresTarget(file, 'dlq'), { applicationName: 'crossfade dlq', role: 'target' });
  try {
    return await act({ client, name: file.name, target: file.targetName });
  } finally {
    await client.end();
  }
}

/** Values only where they were asked for: they may be personal data. */
function shown(letter: DeadLetter, values: boolean): Omit<DeadLetter, 'values'> & { readonly values?: DeadLetter['values'] } {
  const { values: row, ...rest } = letter;
  return values ? { ...rest, values: row } : rest;
}

async function list(context: CommandContext): Promise<Outcome> {
  const discarded = context.options.flag('discarded');
  const letters = await withStore(context, async ({ client, name }) => readDeadLetters(client, name, { discarded }));
  const open = letters.filter((letter) => letter.discarded === null).length;
  const rows = letters.map((letter) => [
    letter.id,
    letter.from === letter.to ? letter.from : `${letter.from} → ${letter.to}`,
    letter.key.join(', '),
    letter.discarded === null ? letter.cause : 'discarded',
    letter.sqlState,
    formatCount(letter.queued),
    letter.lastAt,
    letter.message,
  ]);
  return {
    summary: open === 0 ? 'no row is set aside' : `${formatCount(open)} ${open === 1 ? 'row is' : 'rows are'} set aside`,
    result: { deadLetters: letters.map((letter) => shown(letter, false)), open },
    text: letters.length === 0 ? '' : renderTable(['id', 'table', 'key', 'cause', 'state', 'waiting', 'last', 'error'], rows, [0, 5]),
  };
}

async function show(context: CommandContext, ids: readonly string[]): Promise<Outcome> {
  if (ids.length !== 1) throw wrong('dlq show needs one id', 'Give an id as crossfade dlq list shows it.');
  const [letter] = await withStore(context, async ({ client, name }) => readDeadLetters(client, name, { ids, discarded: true }));
  if (letter === undefined) throw unknown(ids);
  const values = context.options.flag('values');
  const { paint } = context;
  const lines = [
    `${paint.bold(letter.from)} → ${letter.to}  key ${letter.key.join(', ')}`,
    `  error     ${letter.sqlState} ${letter.message}`,
    `  cause     ${letter.cause}${letter.isDelete ? ' (a delete)' : ''}`,
    `  since     ${letter.firstAt}, refused ${formatCount(letter.attempts)} times, last at ${letter.lastAt}`,
    `  position  ${letter.lsn}; ${formatCount(letter.queued)} later changes wait with it`,
    ...(letter.discarded === null ? [] : [`  discarded ${letter.discarded.at} by ${letter.discarded.by}: ${letter.discarded.reason}`]),
    ...(values ? Object.entries(letter.values ?? {}).map(([column, value]) => `  ${column} = ${value ?? 'NULL'}`) : []),
  ];
  return { summary: '', result: shown(letter, values), text: `${lines.join('\n')}\n` };
}

async function retry(context: CommandContext, ids: readonly string[]): Promise<Outcome> {
  const all = context.options.flag('all');
  if (all === ids.length > 0) throw wrong('dlq retry needs ids, or --all', 'Give ids as crossfade dlq list shows them, or --all.');
  return withStore(context, async ({ client, name, target }) => {
    const read = async (): Promise<DeadLetter[]> => readDeadLetters(client, name, all ? {} : { ids });
    const letters = await read();
    requireAll(ids, letters);
    if (letters.length === 0) return { summary: 'no row is set aside: nothing to retry', result: { applied: [], refused: [] } };
    const remaining = await withControl(context, async (instance) =>
      retryDeadLetters({
        letters,
        instance: markersOf(instance, target),
        logger: context.log,
        read: async () => readDeadLetters(client, name),
      }),
    );
    const refused = new Set(remaining.map(({ id }) => id));
    const applied = letters.filter(({ id }) => !refused.has(id)).map(({ id }) => id);
    const result = { applied, refused: remaining.map((letter) => shown(letter, false)) };
    if (remaining.length === 0) return { summary: `${formatCount(applied.length)} of ${formatCount(letters.length)} applied`, result };
    const summary = `${formatCount(remaining.length)} of ${formatCount(letters.length)} were refused again, first with: ${remaining[0]!.message}`;
    return { summary, result, error: new PipelineError('CF-5009', summary) };
  });
}

async function discard(context: CommandContext, ids: readonly string[]): Promise<Outcome> {
  const reason = context.options.text('reason')?.trim() ?? '';
  if (ids.length === 0) throw wrong('dlq discard needs ids', 'Give ids as crossfade dlq list shows them.');
  if (reason === '') throw wrong('dlq discard needs --reason', 'Say why the row is given up: it is recorded.');
  const by = context.options.text('by') ?? userInfo().username;
  const done = await withStore(context, async ({ client, name }) => {
    requireAll(ids, await readDeadLetters(client, name, { ids }));
    return discardDeadLetters(client, name, { ids, by, reason });
  });
  const count = formatCount(done.length);
  return {
    summary: `${count} ${done.length === 1 ? 'row is' : 'rows are'} given up; verify tells them as differences until they change at the source`,
    result: { discarded: done, by, reason },
  };
}

function requireAll(ids: readonly string[], letters: readonly DeadLetter[]): void {
  const known = new Set(letters.map(({ id }) => id));
  const unknownIds = ids.filter((id) => !known.has(String(BigInt(id))));
  if (unknownIds.length > 0) throw unknown(unknownIds);
}

function unknown(ids: readonly string[]): PipelineError {
  return wrong(`no row is set aside under ${ids.join(', ')}`, 'See crossfade dlq list: it may have been applied meanwhile.');
}
