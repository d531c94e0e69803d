/** `explain CF-NNNN`: what a code means, whether it is retried, and what to do. */
import { catalogue, type ErrorCode } from '#schemas/error-catalogue.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { nearestName } from '#schemas/nearest-name.ts';

const RETRIES = {
  timed: 'tried again with back-off by itself',
  operator: 'goes on after somebody acted',
  never: 'not retried',
} as const;

export const explainCommand: CommandSpec = {
  name: 'explain',
  about: 'Explain an error code.',
  examples: [
    ['crossfade explain CF-2002', 'what it means and what to do'],
    ['crossfade explain', 'all codes'],
  ],
  configure: (command) => void command.argument('[code]', 'for example CF-2002'),
  run,
};

async function run({ args, paint }: CommandContext): Promise<Outcome> {
  const [typed] = args;
  const codes = Object.keys(catalogue) as ErrorCode[];
  if (typed === undefined) {
    const text = codes.map((code) => `${paint.bold(code)}  ${catalogue[code].meaning}\n`).join('');
    return { summary: '', result: codes.map(entryOf), text };
  }
  const wanted = /^\d{4}$/.test(typed) ? `CF-${typed}` : typed.toUpperCase();
  const code = codes.find((one) => one === wanted);
  if (code === undefined) {
    const nearest = nearestName(wanted, codes);
    throw new PipelineError('CF-1007', `there is no code ${JSON.stringify(typed)}`, {
      remedy:
        nearest === undefined ? 'See crossfade explain for all codes.' : `Did you mean ${nearest}? crossfade explain lists all codes.`,
    });
  }
  const { meaning, remedy, retry, exit } = catalogue[code];
  const text = `${paint.bold(code)}  ${meaning}\nWhat to do:  ${remedy}\nRetried:     ${RETRIES[retry]}\nExit code:   ${exit}\n`;
  return { summary: '', result: entryOf(code), text };
}

function entryOf(code: ErrorCode): object {
  const { meaning, remedy, retry, exit } = catalogue[code];
  return { code, meaning, remedy, retry, exit };
}
