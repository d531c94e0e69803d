/**
 * The flags over HTTP as Crossfade's own client and operators use them, and what applications report. Guarantee: rules change only past the gate and with
 * a record of who and why; `If-Match` makes a change that was thought out on older rules fail; applications need no token that could do more than read
 * flags and report.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { PipelineError } from '#schemas/errors.ts';
import { documentOf, type FlagDocument, revisionOf, versionOf } from '#schemas/flags/flag-document.ts';
import { rulesChangeSchema } from '#schemas/flags/flag-schema.ts';
import { requireReadsGate } from '#schemas/flags/reads-gate.ts';
import { observationsSchema } from '#schemas/flags/observation-schema.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { FlagService } from '#services/flags/flag-service.ts';
import type { Observations } from '#services/flags/observations.ts';
import { parseBody } from './error-replies.ts';
import { registerOfrepRoutes } from './ofrep-routes.ts';
import { requireToken } from './token.ts';

export interface FlagRouteOptions {
  readonly flags: FlagService;
  readonly observations: Observations;
  /** The instance's: it may do everything. */
  readonly token: string;
  /** For applications: reads flags, reports observations, and nothing else. */
  readonly flagsToken?: string | undefined;
  status(): StatusResult | Promise<StatusResult>;
}

const changeBody = z.strictObject({
  change: rulesChangeSchema,
  actor: z.string().trim().min(1).max(200),
  reason: z.string().trim().min(1).max(2_000).exactOptional(),
});
const reportQuery = z.strictObject({ minutes: z.coerce.number().int().min(1).max(180).default(60) });

export async function registerFlagRoutes(app: FastifyInstance, options: FlagRouteOptions): Promise<void> {
  const { flags, observations, token, flagsToken } = options;
  const tokens = [token, ...(flagsToken === undefined || flagsToken === '' ? [] : [flagsToken])];
  await registerOfrepRoutes(app, { flags, tokens });
  await app.register(async (routes) => {
    routes.addHook('onRequest', requireToken(...tokens));
    routes.get('/v1/flags', (request, reply) => sendDocument(flags, request, reply));
    routes.post('/v1/observations', async (request, reply) => {
      observations.add(parseBody(observationsSchema, request.body).observations);
      return reply.code(202).send({ ok: true });
    });
  });
  await app.register(async (routes) => {
    routes.addHook('onRequest', requireToken(token));
    routes.get('/v1/observations', async (request) => observations.report(parseBody(reportQuery, request.query).minutes));
    routes.put('/v1/flags', async (request) => {
      const { change, actor, reason } = parseBody(changeBody, request.body);
      await flags.refresh();
      const document = known(flags);
      const own = changed(document, flags.wave);
      if (change.kind === 'stage' && own.rules?.dual === undefined)
        throw new PipelineError('CF-8404', 'no stage of dual writes was ever set, and only crossfade flags set --stage sets the first one');
      requireReadsGate({ document: own, change, status: await options.status() });
      requireSeen(request, document);
      const next = await flags.change(change, { actor, ...(reason !== undefined && { reason }) }, versionOf(own));
      return { ...next, revision: revisionOf(next) };
    });
  });
}

function known(flags: FlagService): FlagDocument {
  if (flags.document !== undefined) return flags.document;
  throw new PipelineError('CF-5001', 'the flags are not known here yet: the target has not answered');
}

function sendDocument(flags: FlagService, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const document = known(flags);
  const etag = `"${revisionOf(document)}"`;
  void reply.header('crossfade-stale', String(flags.isStale));
  void reply.header('etag', etag);
  if (request.headers['if-none-match'] === etag) return reply.code(304).send();
  return reply.send(document);
}

/** @throws PipelineError CF-8403 when what the caller saw is not what holds */
function requireSeen(request: FastifyRequest, document: FlagDocument): void {
  const asked = request.headers['if-match'];
  if (asked !== undefined && asked !== '*' && asked.replaceAll('"', '') !== revisionOf(document))
    throw new PipelineError('CF-8403', `the flags are at ${revisionOf(document)}, not at ${asked}`);
}

/** What a change is of: this instance's wave, or all. */
function changed(document: FlagDocument, wave: string | undefined): FlagDocument {
  const own = document.waves?.find(({ name }) => name === wave);
  return own === undefined ? document : documentOf(document, own);
}
