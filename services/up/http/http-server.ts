/**
 * The running instance's HTTP: health, metrics, status and control (design §12). Guarantee: nothing that acts or tells about data is
 * reached without the token (compared in constant time), every body is checked before it reaches an action, every error has the
 * envelope's form, and the instance file exists exactly while the server answers.
 */
import fastify, { type FastifyInstance } from 'fastify';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { type ControlActions, registerControlRoutes, type ReverseActions } from './control-routes.ts';
import { type FlagRouteOptions, registerFlagRoutes } from './flag-routes.ts';
import { type HealthOptions, registerHealthRoutes } from './health-routes.ts';
import { registerErrorReplies } from './error-replies.ts';
import { requireToken } from './token.ts';
import { removeInstance, writeInstance } from '#services/runtime/instance-file.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';

export type { ControlActions } from './control-routes.ts';

export interface HttpServerOptions extends HealthOptions {
  /** 0 = any free one. */
  readonly port: number;
  /** Holds instance.json. */
  readonly dataDir: string;
  readonly actions: ControlActions;
  /** Absent: no way back runs here. */
  readonly reverse?: ReverseActions;
  status(): StatusResult | Promise<StatusResult>;
  /** Absent: none are served. */
  readonly flags?: Pick<FlagRouteOptions, 'flags' | 'observations' | 'flagsToken'>;
}

export interface HttpServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Requests are small: the largest is a list of keys. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** A marker may wait long; nothing else does. */
const REQUEST_TIMEOUT_MS = 30_000;

export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const app = fastify({ bodyLimit: BODY_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS, forceCloseConnections: true, logger: false });
  registerErrorReplies(app);
  registerHealthRoutes(app, options);
  await app.register(async (guardedRoutes) => {
    guardedRoutes.addHook('onRequest', requireToken(options.token));
    guardedRoutes.get('/v1/status', async () => options.status());
    registerControlRoutes(guardedRoutes, options.actions, options.reverse);
  });
  const { flags, token } = options;
  if (flags !== undefined) await registerFlagRoutes(app, { ...flags, token, status: () => options.status() });
  const url = await listen(app, options);
  await writeInstance(options.dataDir, { url, token: options.token, pid: process.pid });
  const close = async (): Promise<void> => {
    await removeInstance(options.dataDir, process.pid);
    await app.close();
  };
  return { url, port: Number(new URL(url).port), close, [Symbol.asyncDispose]: close };
}

/** @throws PipelineError CF-7007: several services of one machine must not have one port. */
export async function listen(app: FastifyInstance, options: { readonly host: string; readonly port: number }): Promise<string> {
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    throw new PipelineError('CF-7007', `HTTP cannot be served on ${options.host}, port ${options.port}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const address = app.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return `http://${host}:${port}`;
}
