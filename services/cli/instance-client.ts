/**
 * Talks to a running instance. Guarantee: its answers pass the same schemas that it was written to, an error of the instance arrives
 * here as the PipelineError that it was there, and "nobody answers" is CF-7001 and nothing else.
 */
import { z } from 'zod';
import { catalogue, type ErrorCode } from '#schemas/error-catalogue.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import {
  type MarkerBody,
  type MarkerResult,
  markerResultSchema,
  type RecopyBody,
  type ThrottleBody,
  type ThrottleResult,
  throttleResultSchema,
} from '#schemas/status/control-request.ts';
import { type StatusResult, statusResultSchema } from '#schemas/status/status-result.ts';
import { readInstance } from '#services/runtime/instance-file.ts';

export interface InstanceAddress {
  readonly url: string;
  readonly token: string;
}

export interface InstanceClient {
  readonly url: string;
  status(): Promise<StatusResult>;
  recopy(request: RecopyBody): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  throttle(request: ThrottleBody): Promise<ThrottleResult>;
  marker(request: MarkerBody): Promise<MarkerResult>;
  /** The way back: names are the target's, and rows go to the source. */
  readonly reverse: { recopy(request: RecopyBody): Promise<void>; marker(request: MarkerBody): Promise<MarkerResult> };
}

export interface FindInstanceOptions {
  /** `--url`: an instance elsewhere; its token comes from CROSSFADE_TOKEN or the data directory. */
  readonly url?: string;
  readonly dataDir?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

const REQUEST_TIMEOUT_MS = 10_000;
/** On top of the time that a request asks the instance to wait. */
const WAIT_SLACK_MS = 5_000;

/** The instance's address, or undefined when no data directory names one; whether it answers is told by the first request. */
export async function findInstance(options: FindInstanceOptions): Promise<InstanceAddress | undefined> {
  const kept = options.dataDir === undefined ? undefined : await readInstance(options.dataDir);
  const given = options.environment['CROSSFADE_TOKEN'];
  const url = options.url ?? kept?.url;
  if (url === undefined) return undefined;
  return { url: url.replace(/\/+$/, ''), token: given !== undefined && given !== '' ? given : (kept?.token ?? '') };
}

export function createInstanceClient(address: InstanceAddress, signal: AbortSignal): InstanceClient {
  const call = (method: 'GET' | 'POST', path: string, body?: unknown, waitMs = 0): Promise<unknown> =>
    request(
      address,
      { method, path, ...(body !== undefined && { body }), timeoutMs: REQUEST_TIMEOUT_MS + (waitMs > 0 ? waitMs + WAIT_SLACK_MS : 0) },
      signal,
    );
  const copying = (path: string): InstanceClient['reverse'] => ({
    recopy: async (body) => void (await call('POST', `${path}/recopy`, body)),
    marker: async (body) => checked(markerResultSchema, await call('POST', `${path}/marker`, body, body.waitMs), address),
  });
  return {
    url: address.url,
    status: async () => checked(statusResultSchema, await call('GET', '/v1/status'), address),
    ...copying('/v1'),
    reverse: copying('/v1/reverse'),
    pause: async () => void (await call('POST', '/v1/pause', {})),
    resume: async () => void (await call('POST', '/v1/resume', {})),
    throttle: async (body) => checked(throttleResultSchema, await call('POST', '/v1/throttle', body), address),
  };
}

interface Call {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  readonly timeoutMs: number;
}

async function request(address: InstanceAddress, call: Call, signal: AbortSignal): Promise<unknown> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(address.url + call.path, {
      method: call.method,
      headers: { authorization: `Bearer ${address.token}`, ...(call.body !== undefined && { 'content-type': 'application/json' }) },
      ...(call.body !== undefined && { body: JSON.stringify(call.body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(call.timeoutMs)]),
    });
    text = await response.text();
  } catch (error) {
    if (signal.aborted) throw error;
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    throw new PipelineError('CF-7001', `nothing answers at ${address.url}: ${cause}`, { cause: error });
  }
  const body = parseJson(text, address);
  if (response.ok) return body;
  throw errorFrom(body, response.status, address);
}

function parseJson(text: string, address: InstanceAddress): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PipelineError('CF-7001', `what answers at ${address.url} is no Crossfade instance`, { cause: error });
  }
}

const failureSchema = z.object({ error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }) });

function errorFrom(body: unknown, status: number, address: InstanceAddress): PipelineError {
  const failure = failureSchema.safeParse(body);
  if (!failure.success || !(failure.data.error.code in catalogue)) {
    return new PipelineError('CF-7001', `what answers at ${address.url} is no Crossfade instance (HTTP ${status})`);
  }
  const { code, message, remedy } = failure.data.error;
  return new PipelineError(code as ErrorCode, message, { remedy });
}

function checked<T>(schema: z.ZodType<T>, body: unknown, address: InstanceAddress): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new PipelineError(
    'CF-7001',
    `the instance at ${address.url} is of another version: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`,
    {
      remedy: 'Use the crossfade that the instance was started with.',
    },
  );
}
