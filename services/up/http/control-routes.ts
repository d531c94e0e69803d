/** POST /v1/…: what an operator may tell a running instance. Guarantee: an action gets only a body that its schema passed. */
import type { FastifyInstance } from 'fastify';
import {
  emptyRequestSchema,
  type MarkerBody,
  markerRequestSchema,
  type MarkerResult,
  type RecopyBody,
  recopyRequestSchema,
  type ThrottleBody,
  throttleRequestSchema,
  type ThrottleResult,
} from '#schemas/status/control-request.ts';
import { PipelineError } from '#schemas/errors.ts';
import { parseBody } from './error-replies.ts';

/** What the composition root lends to HTTP. Each resolves when the request is durable or done, and rejects with a PipelineError. */
export interface ControlActions {
  /** Resolves once the request cannot be lost; the copy itself goes on after. */
  recopy(request: RecopyBody): Promise<void>;
  /** The copy stops between chunks; streaming goes on. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  throttle(request: ThrottleBody): Promise<ThrottleResult>;
  /** Writes a marker on the source and waits until it is applied on the target. */
  marker(request: MarkerBody): Promise<MarkerResult>;
}

/** The same of the way back: names are the target's, and a marker goes from there to the source. */
export type ReverseActions = Pick<ControlActions, 'recopy' | 'marker' | 'resume'>;
type ReverseRoutes = Pick<ReverseActions, 'recopy' | 'marker'>;

export function registerControlRoutes(app: FastifyInstance, actions: ControlActions, reverse: ReverseRoutes = NO_WAY_BACK): void {
  registerCopying(app, '/v1', actions);
  registerCopying(app, '/v1/reverse', reverse);
  app.post('/v1/pause', async (request) => {
    parseBody(emptyRequestSchema, request.body);
    await actions.pause();
    return { ok: true };
  });
  app.post('/v1/resume', async (request) => {
    parseBody(emptyRequestSchema, request.body);
    await actions.resume();
    return { ok: true };
  });
  app.post('/v1/throttle', async (request) => actions.throttle(parseBody(throttleRequestSchema, request.body)));
}

function registerCopying(app: FastifyInstance, path: string, actions: ReverseRoutes): void {
  app.post(`${path}/recopy`, async (request, reply) => {
    await actions.recopy(parseBody(recopyRequestSchema, request.body));
    return reply.code(202).send({ ok: true });
  });
  app.post(`${path}/marker`, async (request) => actions.marker(parseBody(markerRequestSchema, request.body)));
}

const refuse = async (): Promise<never> => Promise.reject(new PipelineError('CF-8201', 'no way back runs here'));
const NO_WAY_BACK: ReverseRoutes = { recopy: refuse, marker: refuse };
