/** Where a process listens: --port and --host, the same for every command that serves HTTP. */
import type { Command } from 'commander';
import { PipelineError } from '#schemas/errors.ts';
import type { Options } from './options.ts';

const DEFAULT_PORT = 7400;
const LOOPBACK = '127.0.0.1';

export function httpOptions(command: Command): void {
  command.option('--port <n>', 'HTTP port', String(DEFAULT_PORT)).option('--host <address>', 'HTTP address', LOOPBACK);
}

/** @throws PipelineError CF-1007 */
export function readHttpOptions(options: Options): { readonly host: string; readonly port: number } {
  const text = options.text('port') ?? String(DEFAULT_PORT);
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return { host: options.text('host') ?? LOOPBACK, port: Number(text) };
  throw new PipelineError('CF-1007', `--port is not a port: ${JSON.stringify(text)}`, {
    remedy: 'A number from 0 (any free port) to 65535.',
  });
}
