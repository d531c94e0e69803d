/**
 * HTTP of a service that nobody talks to but its supervisor: health and metrics, nothing that acts or tells about data. Guarantee: as
 * health-routes.ts says; no instance file is written, because there is nothing here for a command to reach.
 */
import fastify from 'fastify';
import { registerErrorReplies } from './error-replies.ts';
import { registerHealthRoutes, type HealthOptions } from './health-routes.ts';
import { type HttpServer, listen } from './http-server.ts';

export interface HealthServerOptions extends HealthOptions {
  /** 0 = any free one. */
  readonly port: number;
}

export async function createHealthServer(options: HealthServerOptions): Promise<HttpServer> {
  const app = fastify({ forceCloseConnections: true, logger: false });
  registerErrorReplies(app);
  registerHealthRoutes(app, options);
  const url = await listen(app, options);
  const close = async (): Promise<void> => app.close();
  return { url, port: Number(new URL(url).port), close, [Symbol.asyncDispose]: close };
}
