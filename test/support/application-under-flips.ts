/** Starts the following application, and tells what became of what it was promised. Guarantee: it ends with `await using`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSession } from './application.ts';
import type { JournalLine } from './following-application.ts';

const PROGRAM = join(import.meta.dirname, 'following-application.ts');

export interface RunningApplication extends AsyncDisposable {
  /** As far as it is written. */
  lines(): JournalLine[];
  /** Resolves when everything is answered and written. */
  stop(): Promise<JournalLine[]>;
}

export function startApplication(
  urls: { readonly source: string; readonly target: string },
  journal: string,
  rate: number | { readonly rate: number; readonly tenant: string },
): RunningApplication {
  const told = typeof rate === 'number' ? [String(rate)] : [String(rate.rate), rate.tenant];
  const child = spawn(process.execPath, [PROGRAM, urls.source, urls.target, journal, ...told], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = async (): Promise<JournalLine[]> => {
    child.kill('SIGTERM');
    await ended;
    return readJournal(journal);
  };
  return {
    lines: () => readJournal(journal),
    stop,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function readJournal(path: string): JournalLine[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return []; // not begun yet
  }
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as JournalLine);
}

/** Acknowledged writes that a store does not have, whole; of a tenant's application, as that tenant's. */
export async function lostWrites(url: string, lines: readonly JournalLine[], tenant?: string): Promise<string[]> {
  const tokens = lines.flatMap((line) => (line.kind === 'write' ? [line.token] : []));
  await using session = await openSession(url);
  const own = (table: string): string => (tenant === undefined ? '' : `${table}.tenant_id = $2 AND`);
  const rows = await session.query(
    `SELECT t AS token FROM unnest($1::text[]) AS t
      WHERE NOT EXISTS (SELECT FROM app_order o WHERE ${own('o')} o.token = t AND o.amount > 0
                           AND (SELECT count(*) FROM app_line l WHERE ${own('l')} l.order_id = o.id AND l.note = t) = 2)`,
    tenant === undefined ? [tokens] : [tokens, tenant],
  );
  return rows.map(({ token }) => token!);
}

/** The longest gap between two acknowledged writes, and the longest that a write waited, in milliseconds. */
export function longestWait(lines: readonly JournalLine[], from: number, to: number): number {
  return Math.max(0, ...lines.flatMap((line) => (line.kind === 'write' && line.at >= from && line.at <= to ? [line.ms] : [])));
}
