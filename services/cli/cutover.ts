/** `cutover`: writes (and reads with them) move to the target. Exit 0 when the target serves, 10 with the closed gates and the source untouched. */
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { flipOptions, runFlip } from './flip/run-flip.ts';
import { waveOption } from './migration-input.ts';
import { loadSignedTarget } from './plan/signed-plan.ts';

export const cutoverCommand: CommandSpec = {
  name: 'cutover',
  about: 'Move writes to the target: proved before, decided by one COMMIT, undone by itself when anything fails before that.',
  examples: [
    ['crossfade cutover --dry-run', 'all gates with their evidence, and what would be done'],
    ['crossfade cutover --confirm shop', 'writers wait about as long as crossfade drill measured'],
    ['crossfade cutover --confirm shop --timeout 2min', 'backed out unless it is decided by then'],
  ],
  configure: (command) => {
    flipOptions(command);
    command.option('--confirm <name>', 'name of the migration, typed by hand').option('--dry-run', 'only look: changes nothing');
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { file } = await loadSignedTarget(context);
  const dryRun = context.options.flag('dryRun');
  if (!dryRun && context.options.text('confirm') !== file.name) {
    throw new PipelineError('CF-8309', `the cut-over of ${file.name} has to be confirmed by its name`, {
      remedy: `crossfade cutover${waveOption(file)} --confirm ${file.name}; look first: crossfade cutover${waveOption(file)} --dry-run`,
    });
  }
  return runFlip(file, { command: 'cutover', kind: 'cutover', drill: false, dryRun }, context);
}
