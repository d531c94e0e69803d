/** `completion bash|zsh|fish`: a script that completes commands and options; made from the same program that parses them. */
import type { Command } from 'commander';
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

interface Word {
  readonly command: string;
  readonly about: string;
  readonly options: readonly { readonly long: string; readonly about: string }[];
}

export const completionCommand: CommandSpec = {
  name: 'completion',
  about: 'Print a completion script for your shell.',
  examples: [
    ['source <(crossfade completion bash)', 'bash, for this session'],
    ['crossfade completion zsh > ~/.zfunc/_crossfade', 'zsh, with ~/.zfunc in fpath'],
    ['crossfade completion fish > ~/.config/fish/completions/crossfade.fish', 'fish'],
  ],
  configure: (command) => void command.argument('<shell>', SHELLS.join(', ')),
  run,
};

async function run({ args, program }: CommandContext): Promise<Outcome> {
  const shell = SHELLS.find((one) => one === args[0]);
  if (shell === undefined)
    throw new PipelineError('CF-1007', `there is no completion for ${JSON.stringify(args[0])}`, {
      remedy: `One of: ${SHELLS.join(', ')}.`,
    });
  const script = render(shell, readWords(program));
  return { summary: '', result: { shell, script }, text: script };
}

function readWords(program: Command): Word[] {
  return program.commands.map((command) => ({
    command: command.name(),
    about: command.description(),
    options: [
      ...command.options.map((option) => ({ long: option.long ?? '', about: option.description })),
      { long: '--help', about: 'show help' },
    ],
  }));
}

function render(shell: Shell, words: readonly Word[]): string {
  const renderers = { bash: renderBash, zsh: renderZsh, fish: renderFish } as const;
  return renderers[shell](words);
}

function renderBash(words: readonly Word[]): string {
  const cases = words.map(({ command, options }) => `    ${command}) words="${options.map(({ long }) => long).join(' ')}" ;;`);
  return `_crossfade() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  case "$previous" in -f|--file|-o|--output|--out|--against|--keys|--data) COMPREPLY=($(compgen -f -- "$current")); return ;; esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${words.map(({ command }) => command).join(' ')} --help --version"; else
    case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _crossfade crossfade
`;
}

function renderZsh(words: readonly Word[]): string {
  const quote = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, String.raw`\$&`);
  const cases = words.map(
    ({ command, options }) =>
      `    ${command}) _arguments ${options.map(({ long, about }) => `'${long}[${quote(about)}]'`).join(' ')} '*:file:_files' ;;`,
  );
  return `#compdef crossfade
_crossfade() {
  local -a commands
  commands=(${words.map(({ command, about }) => `'${command}:${quote(about)}'`).join(' ')})
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "$words[2]" in
${cases.join('\n')}
  esac
}
compdef _crossfade crossfade
`;
}

function renderFish(words: readonly Word[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", String.raw`\'`)}'`;
  const lines = words.flatMap(({ command, about, options }) => [
    `complete -c crossfade -n __fish_use_subcommand -f -a ${command} -d ${quote(about)}`,
    ...options.map(
      ({ long, about: what }) => `complete -c crossfade -n '__fish_seen_subcommand_from ${command}' -l ${long.slice(2)} -d ${quote(what)}`,
    ),
  ]);
  return `${lines.join('\n')}\n`;
}
