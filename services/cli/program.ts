/** The commander program. Guarantee: parsing has no effect but the call of `chosen`; nothing here exits the process. */
import { Command, Option } from 'commander';
import { LOG_LEVELS } from '#services/runtime/log.ts';
import type { CliIo, CommandSpec } from './command.ts';
import { COMMANDS } from './commands.ts';
import { VERSION } from './version.ts';

type Chosen = (spec: CommandSpec, command: Command, args: readonly string[]) => void;

/** Without `io` nothing is printed: for looking options up. */
export function buildProgram(io: CliIo | undefined, chosen: Chosen): Command {
  const program = new Command('crossfade');
  quiet(program, io);
  program
    .description('Moves a live PostgreSQL database into a new store with no downtime and no lost row.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpCommand(false)
    .usage('<command> [options]')
    .addOption(jsonOption())
    .action((_options: unknown, command: Command) => {
      // Without an action commander would print help and exit 1 for an empty command line; with it an unknown word must be refused here.
      const [word] = command.args;
      if (word !== undefined) command.error(`unknown command '${word}'`, { code: 'commander.unknownCommand', exitCode: 2 });
    })
    .allowExcessArguments(true);
  program.addHelpText(
    'after',
    '\nStart here:\n  crossfade demo                      see it work on two throw-away servers\n  crossfade init --source URL --target URL   write migration.yaml\n  crossfade check                     what stands in the way, with the SQL that mends it\n  crossfade up                        copy, then follow, until stopped\n',
  );
  for (const spec of COMMANDS) addCommand(program, spec, io, chosen);
  return program;
}

function addCommand(program: Command, spec: CommandSpec, io: CliIo | undefined, chosen: Chosen): void {
  const command = new Command(spec.name);
  quiet(command, io);
  command
    .description(spec.about)
    .option('-f, --file <file>', 'the migration file (default: migration.yaml)')
    .option('--data <dir>', 'data directory (default: .crossfade/NAME)')
    .option('--wave <wave>', 'of a file with waves: the one to act on')
    .addOption(jsonOption())
    .addOption(new Option('--log-level <level>', 'what to log on stderr').choices(LOG_LEVELS));
  spec.configure?.(command);
  const width = Math.max(...spec.examples.map(([line]) => line.length));
  const examples = spec.examples.map(([line, about]) => `  ${line.padEnd(width)}  ${about}`);
  command.addHelpText('after', `\nExamples:\n${examples.join('\n')}\n`);
  command.action(() => chosen(spec, command, command.args));
  program.addCommand(command);
}

function jsonOption(): Option {
  return new Option('--json', 'one JSON object on stdout');
}

function quiet(command: Command, io: CliIo | undefined): void {
  command.exitOverride();
  command.showSuggestionAfterError(false);
  command.configureOutput({
    writeOut: (text) => io?.stdout.write(text),
    // Errors are answered by run-cli, in the form asked for.
    writeErr: () => undefined,
    getOutHelpWidth: () => io?.stdout.columns ?? 100,
  });
}
