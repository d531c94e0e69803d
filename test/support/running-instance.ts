/** A whole pipeline in this process, as `crossfade up` runs it, for scenario tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { waveFile } from '#schemas/config/wave-file.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { rollBack } from '#services/cli/flip/roll-back.ts';
import { proveNow } from '#services/cli/prove-now.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { runUp } from '#services/up/up.ts';

export interface InstanceOptions {
  readonly source: string;
  readonly target: string;
  /** YAML behind `target:`; the smallest file's tables when absent. */
  readonly rest?: string;
  /** Of a file with waves. */
  readonly wave?: string;
  /** `up --reverse-anew`. */
  readonly reverseAnew?: boolean;
}

export interface RunningInstance extends AsyncDisposable {
  readonly file: MigrationFile;
  readonly dataDir: string;
  status(): StatusResult | undefined;
  /** POST to the instance's HTTP. */
  post(path: string, body: unknown): Promise<unknown>;
  /** Ends in good order; the next `startInstance` with the same directory goes on. */
  stop(): Promise<void>;
}

export function fileFor({ source, target, wave, rest = 'tables:\n  - from: public.*\n' }: InstanceOptions): MigrationFile {
  const kind = /^rediss?:/.test(target) ? 'redis' : 'postgres';
  const text = `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { ${kind}: "${target}" }\n${rest}`;
  const { file, findings } = readMigrationFile({ path: 'scenario.yaml', text, env: {} });
  if (!file) throw new Error(findings.map((finding) => finding.message).join('; '));
  return waveFile(file, wave);
}

export async function newDataDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'crossfade-up-'));
}

/** Starts it; `dataDir` of an earlier one is taken up again. */
export async function startInstance(options: InstanceOptions, dataDir?: string): Promise<RunningInstance> {
  const directory = dataDir ?? (await newDataDir());
  const file = fileFor(options);
  const stop = new AbortController();
  let last: StatusResult | undefined;
  const log = process.env['CROSSFADE_TEST_LOG'] === undefined ? silentLogger : console;
  const ran = runUp({
    file,
    dataDir: directory,
    host: '127.0.0.1',
    port: 0,
    signal: stop.signal,
    logger: log,
    ...(options.reverseAnew === true && { reverseAnew: true }),
    environment: {},
    onProgress: (status) => (last = status),
    progressEveryMs: 50,
    startRollback: async (reason) => rollBack(file, { log, io: { environment: {} }, signal: stop.signal }, reason),
    prove: async (signal) => proveNow({ file, dataDir: directory }, { log, signal }),
  });
  ran.catch(() => undefined);
  const end = async (): Promise<void> => {
    stop.abort();
    last = (await ran).status;
  };
  return {
    file,
    dataDir: directory,
    status: () => last,
    post: async (path, body) => {
      const instance = await readInstance(directory);
      if (!instance) throw new Error('the instance does not answer yet');
      const response = await fetch(new URL(path, instance.url), {
        method: 'POST',
        headers: { authorization: `Bearer ${instance.token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return response.json();
    },
    stop: end,
    [Symbol.asyncDispose]: async () => {
      await end().catch(() => undefined);
      if (dataDir === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}
