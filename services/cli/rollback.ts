/** `rollback`: writes move back to the source, and none that was made on the target is lost. The same act as the cut-over, with the sides swapped. */
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { forceRollback } from './flip/forced-rollback.ts';
import { flipOptions, runFlip } from './flip/run-flip.ts';
import { loadSignedTarget } from './plan/signed-plan.ts';

export const rollbackCommand: CommandSpec = {
  name: 'rollback',
  about: 'Move writes back to the source, with everything that was written on the target; until it is signed off.',
  examples: [
    ['crossfade rollback', 'no confirmation is asked: it loses nothing, and can be undone by a cut-over'],
    ['crossfade rollback --dry-run', 'whether it could be done now'],
    ['crossfade rollback --forced --confirm shop', 'the target is lost for good: tells what is left behind'],
  ],
  configure: (command) => {
    flipOptions(command);
    command
      .option('--dry-run', 'only look: changes nothing')
      .option('--forced', 'the target is lost: the source serves without what had not come back yet (needs --confirm)')
      .option('--confirm <name>', 'with --forced: name of the migration, typed by hand');
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { file } = await loadSignedTarget(context);
  if (context.options.flag('forced')) return forceRollback(file, context);
  return runFlip(file, { command: 'rollback', kind: 'rollback', drill: false, dryRun: context.options.flag('dryRun') }, context);
}
