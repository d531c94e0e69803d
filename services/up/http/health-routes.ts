/**
 * /healthz, /readyz, /metrics. Guarantee: open on loopback (a probe has no token), behind the token when the server listens anywhere
 * else; none of them touches a database.
 */
import type { FastifyInstance } from 'fastify';
import type { MetricsPage } from '#services/runtime/metrics.ts';
import { requireToken } from './token.ts';

export interface HealthOptions {
  readonly host: string;
  readonly token: string;
  readonly metrics: MetricsPage;
  /** False while the services are starting or reconnecting: /readyz answers 503 with the reason. */
  readiness(): { readonly ready: boolean; readonly reason?: string };
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

export function registerHealthRoutes(app: FastifyInstance, options: HealthOptions): void {
  const guard = LOOPBACK.has(options.host) ? {} : { onRequest: requireToken(options.token) };
  app.get('/healthz', guard, async () => ({ ok: true }));
  app.get('/readyz', guard, async (_request, reply) => {
    const state = options.readiness();
    return reply.code(state.ready ? 200 : 503).send(state);
  });
  app.get('/metrics', guard, async (_request, reply) => reply.type(options.metrics.contentType).send(await options.metrics.text()));
}
