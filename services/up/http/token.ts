/** The bearer token. Guarantee: the comparison takes the same time wherever the first difference lies, and whatever the length given. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PipelineError } from '#schemas/errors.ts';

/** @returns a hook that throws PipelineError CF-7004 unless the request carries one of the tokens: as bearer, or as OFREP's X-API-Key. */
export function requireToken(...tokens: readonly string[]): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const expected = tokens.map(digest);
  return async (request, reply) => {
    const apiKey = request.headers['x-api-key'];
    const given = digest(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? (typeof apiKey === 'string' ? apiKey : ''));
    // Each is compared, whichever it is.
    if (expected.map((each) => timingSafeEqual(given, each)).includes(true)) return;
    void reply.header('www-authenticate', 'Bearer');
    throw new PipelineError('CF-7004', 'the token is missing or wrong');
  };
}

export function isSame(given: string, expected: string): boolean {
  return timingSafeEqual(digest(given), digest(expected));
}

/** Of equal length for texts of any length, which is what timingSafeEqual asks for. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
