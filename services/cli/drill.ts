/** `drill`: everything that a cut-over does (or a rollback, where the target serves) but the decision. Guarantee: who serves is never changed. */
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { flipOptions, runFlip } from './flip/run-flip.ts';
import { loadSignedTarget } from './plan/signed-plan.ts';

export const drillCommand: CommandSpec = {
  name: 'drill',
  about: 'Do everything of the next flip but its decision, and tell how long writers were blocked.',
  examples: [['crossfade drill', 'of the cut-over; of the rollback once the target serves']],
  configure: flipOptions,
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { file } = await loadSignedTarget(context);
  return runFlip(file, { command: 'drill', drill: true, dryRun: false }, context);
}
