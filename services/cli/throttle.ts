/** `throttle`: limits the copy of a running instance; the stream is never slowed. */
import { PipelineError } from '#schemas/errors.ts';
import { parseBytes } from '#schemas/config/migration-schema.ts';
import type { ThrottleBody, ThrottleResult } from '#schemas/status/control-request.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { urlOption, withControl } from './instance-command.ts';
import type { Options } from './options.ts';
import { formatBytes, formatCount } from './render.ts';

export const throttleCommand: CommandSpec = {
  name: 'throttle',
  about: 'Limit the copy of a running instance, or lift its limits. Following is never slowed.',
  examples: [
    ['crossfade throttle --rows 20000', 'at most 20,000 rows a second'],
    ['crossfade throttle --bytes 10MiB', 'at most 10 MiB a second'],
    ['crossfade throttle --off', 'no limit'],
  ],
  configure: (command) => {
    urlOption(command);
    command
      .option('--rows <n>', 'rows per second')
      .option('--bytes <n>', 'bytes per second, for example 10MiB')
      .option('--off', 'lift all limits');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const body = readLimits(context.options);
  const result = await withControl(context, (control) => control.throttle(body));
  return { summary: describe(result), result };
}

function readLimits(options: Options): ThrottleBody {
  const [rows, bytes] = [options.text('rows'), options.text('bytes')];
  if (options.flag('off')) {
    if (rows !== undefined || bytes !== undefined) throw new PipelineError('CF-1007', '--off lifts all limits: give it alone');
    return { maxRowsPerSecond: null, maxBytesPerSecond: null };
  }
  if (rows === undefined && bytes === undefined)
    throw new PipelineError('CF-1007', 'no limit was given', { remedy: 'Give --rows N, --bytes N, or --off.' });
  return {
    ...(rows !== undefined && { maxRowsPerSecond: readCount('--rows', rows) }),
    ...(bytes !== undefined && { maxBytesPerSecond: readBytes(bytes) }),
  };
}

function readCount(name: string, text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new PipelineError('CF-1007', `${name} is not a whole number above 0: ${JSON.stringify(text)}`);
}

function readBytes(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== undefined) return bytes;
  throw new PipelineError('CF-1007', `--bytes is not an amount of bytes: ${JSON.stringify(text)}`, { remedy: 'For example 10MiB.' });
}

function describe({ maxRowsPerSecond, maxBytesPerSecond }: ThrottleResult): string {
  const limits = [
    ...(maxRowsPerSecond === null ? [] : [`${formatCount(maxRowsPerSecond)} rows/s`]),
    ...(maxBytesPerSecond === null ? [] : [`${formatBytes(maxBytesPerSecond)}/s`]),
  ];
  return limits.length === 0 ? 'the copy runs without a limit' : `the copy is limited to ${limits.join(' and ')}`;
}
