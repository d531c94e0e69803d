/** `demo`: a live shop moves between two throw-away servers, is killed twice on the way, proved equal, cut over, back and over again. */
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';

export const demoCommand: CommandSpec = {
  name: 'demo',
  about:
    'See a live database move, be killed twice, be proved equal, cut over, rolled back and signed off: two throw-away servers, nothing to set up.',
  examples: [
    ['crossfade demo', 'under three minutes; exit 0 only when nothing was lost'],
    ['crossfade demo --small', 'about half a minute'],
    ['crossfade demo --keep', 'keep it running to play with'],
  ],
  configure: (command) =>
    void command
      .option('--small', 'a small shop')
      .option('--keep', 'keep everything running until Ctrl-C')
      .option('--seed <n>', 'the seed of an earlier run'),
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  // Loaded late: the demo's servers and writers are no part of any other command.
  const [{ readOptions }, { runDemo }, { runPlay }, { createStory }] = await Promise.all([
    import('#services/demo/options.ts'),
    import('#services/demo/demo.ts'),
    import('#services/demo/play.ts'),
    import('#services/demo/story.ts'),
  ]);
  const flags = ['small', 'keep'].filter((name) => context.options.flag(name)).map((name) => `--${name}`);
  const seed = context.options.text('seed');
  const argv = [...flags, ...(seed === undefined ? [] : ['--seed', seed])];
  const options = readDemoOptions(() => readOptions(argv, Math.random));
  const story = createStory(context.common.json ? process.stderr : process.stdout, Date.now);
  story.begin(`Crossfade: a shop moves while it is open (seed ${options.seed})`);
  if (options.keep) {
    await runPlay(options, story, context.signal);
    return { summary: 'the demo was stopped', result: null };
  }
  const result = await runDemo(options, story);
  const summary = `moved ${result.tables} tables through ${result.kills.length} kills; differences ${result.differences}`;
  if (result.differences === 0 && result.inconclusive === 0) return { summary, result };
  const error = result.differences > 0 ? new PipelineError('CF-6001', summary) : new PipelineError('CF-6002', summary);
  return { summary, result, error };
}

function readDemoOptions<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof TypeError) throw new PipelineError('CF-1007', error.message, { cause: error });
    throw error;
  }
}
