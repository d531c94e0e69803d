import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { COMMANDS } from '#services/cli/commands.ts';
import { runInProcess } from '#test/support/command-line.ts';

test.for(['bash', 'zsh', 'fish'])('the %s script knows every command and option', async (shell) => {
  const { exitCode, stdout } = await runInProcess(['completion', shell]);
  expect(exitCode).toBe(0);
  for (const { name } of COMMANDS) expect(stdout).toContain(name);
  expect(stdout).toContain(shell === 'fish' ? '-l until' : '--until');
});

test('bash takes the script and completes a command and an option with it', async () => {
  const { stdout } = await runInProcess(['completion', 'bash']);
  const complete = (...words: string[]): string =>
    execFileSync(
      'bash',
      [
        '-c',
        `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _crossfade; echo "\${COMPREPLY[@]}"`,
      ],
      { encoding: 'utf8' },
    ).trim();
  expect(complete('crossfade', 'ver')).toBe('verify');
  expect(complete('crossfade', 'up', '--unt')).toBe('--until');
});
