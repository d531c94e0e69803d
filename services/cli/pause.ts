/** `pause` and `resume`: the copy of a running instance stops between chunks and goes on; the stream is followed throughout. */
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { urlOption, withControl } from './instance-command.ts';

export const pauseCommand: CommandSpec = {
  name: 'pause',
  about: 'Pause the copy of a running instance; changes go on being followed.',
  examples: [['crossfade pause', 'no further chunk is read until crossfade resume']],
  configure: urlOption,
  run: async (context) => act(context, 'pause', 'the copy pauses after the chunks in flight; changes are still followed'),
};

export const resumeCommand: CommandSpec = {
  name: 'resume',
  about: 'Go on with a paused copy, and with tables that are held.',
  examples: [['crossfade resume', 'the copy goes on; held tables are tried again']],
  configure: urlOption,
  run: async (context) => act(context, 'resume', 'the copy goes on'),
};

async function act(context: CommandContext, action: 'pause' | 'resume', summary: string): Promise<Outcome> {
  return withControl(context, async (control) => {
    await control[action]();
    return { summary, result: { url: control.url } };
  });
}
