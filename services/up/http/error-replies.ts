/** Errors over HTTP. Guarantee: each has the envelope's form and a status that says whose turn it is: 4xx the caller's, 5xx ours. */
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import { z } from 'zod';
import { type Envelope, envelopeError, toPipelineError } from '#schemas/envelope.ts';
import { PipelineError } from '#schemas/errors.ts';

export function registerErrorReplies(app: FastifyInstance): void {
  app.setErrorHandler<FastifyError>((error, request, reply) => sendError(reply, request.url, fromFastify(error)));
  app.setNotFoundHandler((request, reply) => {
    const error = new PipelineError('CF-1007', `there is no ${request.method} ${request.url}`, {
      remedy: 'See docs/http.md for the routes.',
    });
    return sendError(reply, request.url, { error, status: 404 });
  });
}

interface Failure {
  readonly error: PipelineError;
  readonly status: number;
}

function fromFastify(thrown: FastifyError): Failure {
  if (thrown instanceof PipelineError) return { error: thrown, status: statusOf(thrown) };
  if (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500) {
    return { error: new PipelineError('CF-1007', thrown.message, { cause: thrown }), status: thrown.statusCode };
  }
  const error = toPipelineError(thrown);
  return { error, status: statusOf(error) };
}

function statusOf(error: PipelineError): number {
  if (error.code === 'CF-7004') return 401;
  switch (error.exitCode) {
    case 2:
      return 400;
    case 3:
      return 503;
    case 10:
    case 11:
      return 409;
    default:
      return error.retry === 'operator' ? 409 : 500;
  }
}

function sendError(reply: FastifyReply, route: string, failure: Failure): FastifyReply {
  const body: Envelope = {
    command: route,
    ok: false,
    summary: failure.error.message,
    result: null,
    error: envelopeError(failure.error),
    findings: [],
  };
  return reply.code(failure.status).send(body);
}

/** @throws PipelineError CF-1007 naming each wrong key. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body ?? {});
  if (parsed.success) return parsed.data;
  throw new PipelineError('CF-1007', `the request body is not valid: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`);
}
