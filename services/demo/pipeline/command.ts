/** One crossfade command with `--json`, as a child process. Guarantee: the exit code and the envelope are given as they came. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import { entryPoint } from './pipeline.ts';

/** The envelope of design §12. */
export interface Envelope<T> {
  readonly command: string;
  readonly ok: boolean;
  readonly summary: string;
  readonly result?: T;
  readonly error?: { readonly code: string; readonly message: string; readonly remedy: string } | null;
  readonly findings?: readonly { readonly severity: string; readonly code: string; readonly message: string; readonly remedy: string }[];
}

export interface CommandOutcome<T> {
  readonly code: number | null;
  /** Undefined when stdout was not one JSON object. */
  readonly envelope: Envelope<T> | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly file: string;
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** `verify --json` → result (design §12). */
export interface VerifyResult {
  readonly at: { readonly lsn: string | null };
  readonly tables: readonly {
    readonly to: string;
    readonly rowsSource: number;
    readonly rowsTarget: number;
    readonly missing: number;
    readonly extra: number;
    readonly different: number;
    readonly sample?: readonly unknown[];
    readonly sharedFunctionOnly?: readonly string[];
  }[];
  readonly differences: number;
  readonly inconclusive: number;
}

export async function runCommand<T>(args: readonly string[], options: CommandOptions): Promise<CommandOutcome<T>> {
  const data = options.dataDir === undefined ? [] : ['--data', options.dataDir];
  const child = spawn(process.execPath, [entryPoint(), ...args, '-f', options.file, ...data, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  const [stdout, stderr, exit] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: exit[0] as number | null, envelope: parseEnvelope<T>(stdout), stdout, stderr };
}

function parseEnvelope<T>(stdout: string): Envelope<T> | undefined {
  try {
    return JSON.parse(stdout) as Envelope<T>;
  } catch {
    return undefined;
  }
}

/** What a failed command said, for a message. */
export function explain(outcome: CommandOutcome<unknown>): string {
  const { envelope } = outcome;
  if (envelope === undefined) return `exit code ${outcome.code}: ${(outcome.stderr || outcome.stdout).trim().slice(-1500)}`;
  const findings = (envelope.findings ?? [])
    .filter((finding) => finding.severity === 'error')
    .map((finding) => `${finding.code} ${finding.message}`);
  const error = envelope.error ? [`${envelope.error.code} ${envelope.error.message}`] : [];
  return `exit code ${outcome.code}: ${[...error, ...findings, envelope.summary].filter(Boolean).join('; ')}`;
}
