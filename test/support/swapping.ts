/** The application that knows its tables by their names only, started beside a test. Guarantee: it ends with `await using`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execute } from './application.ts';
import { until } from './flip-stage.ts';
import type { SwapLine } from './swapped-application.ts';

export interface SwappedApplication extends AsyncDisposable {
  lines(): readonly SwapLine[];
  /** Resolves when as many more acts are written down. */
  more(acts: number): Promise<void>;
  /** Resolves when everything is answered and written. */
  stop(): Promise<readonly SwapLine[]>;
}

export function startSwapped(url: string, journal: string, rate: number): SwappedApplication {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'swapped-application.ts'), url, journal, String(rate)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = (): readonly SwapLine[] => readLines(journal);
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  return {
    lines,
    more: async (acts) => {
      const before = lines().length;
      await until(() => lines().length >= before + acts, 'reads and writes');
    },
    stop: async () => {
      await end('SIGTERM');
      return lines();
    },
    [Symbol.asyncDispose]: async () => end('SIGKILL'),
  };
}

function readLines(path: string): readonly SwapLine[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return []; // not begun yet
  }
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as SwapLine);
}

/** Tokens that no row of a table has. */
export async function missingTokens(url: string, table: string, lines: readonly SwapLine[]): Promise<string[]> {
  const tokens = lines.flatMap(({ kind, token }) => (kind === 'write' ? [token] : []));
  const rows = await execute(
    url,
    `SELECT t AS token FROM jsonb_array_elements_text('${JSON.stringify(tokens)}') AS t WHERE NOT EXISTS (SELECT FROM ${table} o WHERE o.token = t)`,
  );
  return rows.map(({ token }) => token!);
}
