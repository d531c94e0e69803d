/** The bearer token. Guarantee: the comparison takes the same time wherever the first difference lies, and whatever the length given. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PipelineError } from '#schemas/errors.ts';

/** @returns a hook that throws PipelineError CF-7004 unless the request carries the token. */
export function requireToken(token: string): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const expected = digest(token);
  return async (request, reply) => {
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (timingSafeEqual(digest(given), expected)) return;
    void reply.header('www-authenticate', 'Bearer');
    throw new PipelineError('CF-7004', 'the token is missing or wrong');
  };
}

/** Of equal length for texts of any length, which is what timingSafeEqual asks for. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
