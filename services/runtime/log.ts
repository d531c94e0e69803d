/**
 * Log lines. Guarantee: they go to stderr only (stdout belongs to the command's answer), are written before the call returns, so that
 * none is lost with the process, and carry no secrets: URLs pass through a mask.
 */
import { pino, type DestinationStream } from 'pino';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { maskParametersIn } from '#schemas/url-secrets.ts';
import type { Logger } from './service.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  readonly level: LogLevel;
  /** JSON lines for machines, or one readable line each for a person at a terminal. */
  readonly form: 'json' | 'human';
  /** Where finished lines go; stderr when absent. */
  readonly write?: (text: string) => void;
}

type Details = Readonly<Record<string, unknown>>;

export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? ((text: string): void => void process.stderr.write(text));
  const stream: DestinationStream = { write: options.form === 'json' ? write : (line) => write(readable(line)) };
  const log = pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    stream,
  );
  const at = (level: 'info' | 'warn' | 'error' | 'debug') => (details: Details, message: string) =>
    log[level](plain(details), maskSecrets(message));
  return { info: at('info'), warn: at('warn'), error: at('error'), debug: at('debug') };
}

/** Errors and big integers in a form that JSON can hold. */
function plain(details: Details): Record<string, unknown> {
  return Object.fromEntries(Object.entries(details).map(([name, value]) => [name, plainValue(value)]));
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return maskSecrets(value);
  if (value instanceof PipelineError) return { code: value.code, message: maskSecrets(value.message), ...value.place };
  if (value instanceof Error) return { message: maskSecrets(messageOf(value)), stack: maskSecrets(value.stack ?? '') };
  if (Array.isArray(value)) return value.map(plainValue);
  return value;
}

/** Any URL in the text loses its password, and parameters that are secrets. */
export function maskSecrets(text: string): string {
  return maskParametersIn(text.replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]*@/gi, '$1:***@'));
}

function readable(line: string): string {
  const { time, level, msg, ...details } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(details).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return `${String(time).slice(11, 19)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}${rest.join('')}\n`;
}
