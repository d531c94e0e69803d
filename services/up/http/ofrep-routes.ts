/**
 * OFREP (OpenFeature's remote evaluation protocol, 0.3.0): any OpenFeature SDK follows the migration's flags. Guarantee: answers and failures have the
 * protocol's form, an ETag stands for the whole answer, and whoever listens to the events is told of a new document as soon as it is known here.
 *
 * A browser's EventSource sends no headers, so the address of the events carries a key of its own, which opens nothing else.
 */
import { createHash, createHmac } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { evaluate, type Evaluation, type EvaluationContext, flagKeys } from '#schemas/flags/evaluate.ts';
import { type FlagDocument, revisionOf } from '#schemas/flags/flag-document.ts';
import type { FlagService } from '#services/flags/flag-service.ts';
import { isSame, requireToken } from './token.ts';

const EVENTS = '/ofrep/v1/events';
const INACTIVITY_S = 120;
/** Proxies close a connection on which nothing comes. */
const KEEP_ALIVE_MS = 15_000;

const text = z.union([z.string(), z.number().transform(String)]).optional();
/** Other attributes are the application's own business. */
const bodySchema = z.looseObject({ context: z.looseObject({ targetingKey: text, tenant: text, table: text }).optional() });

type ErrorCode = 'PARSE_ERROR' | 'INVALID_CONTEXT' | 'FLAG_NOT_FOUND' | 'GENERAL';

export interface OfrepOptions {
  readonly flags: FlagService;
  /** Any of them is taken. */
  readonly tokens: readonly string[];
}

export async function registerOfrepRoutes(app: FastifyInstance, options: OfrepOptions): Promise<void> {
  const streams = new EventStreams(options.flags);
  app.addHook('onClose', async () => streams.close());
  await app.register(async (routes) => {
    routes.setErrorHandler((error, request, reply) => failure(reply, { status: statusOf(error), key: keyOf(request), error }));
    routes.addHook('onRequest', requireToken(...options.tokens));
    routes.post('/ofrep/v1/evaluate/flags/:key', (request, reply) => evaluateOne(options.flags, request, reply));
    routes.post('/ofrep/v1/evaluate/flags', (request, reply) => evaluateAll(options, request, reply));
  });
  const key = eventsKey(options);
  app.get(EVENTS, { onRequest: keyOr(key, requireToken(...options.tokens)) }, (_request, reply) => streams.open(reply));
}

function evaluateOne(flags: FlagService, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { key } = request.params as { readonly key: string };
  const { document } = flags;
  if (document === undefined) return unknownYet(reply, key);
  const read = readContext(request.body);
  if ('code' in read) return refuse(reply, 400, { key, ...read });
  const evaluation = evaluate(document, key, read);
  if (evaluation === undefined)
    return refuse(reply, 404, { key, code: 'FLAG_NOT_FOUND', details: `the flags are ${flagKeys(document).join(', ')}` });
  return reply.send(marked(flags, evaluation));
}

function evaluateAll({ flags, ...options }: OfrepOptions, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { document } = flags;
  if (document === undefined) return unknownYet(reply);
  const read = readContext(request.body);
  if ('code' in read) return refuse(reply, 400, read);
  const values = flagKeys(document).flatMap((key) => evaluate(document, key, read) ?? []);
  const body = JSON.stringify({
    flags: values.map((evaluation) => marked(flags, evaluation)),
    metadata: { epoch: document.epoch, revision: revisionOf(document) },
    eventStreams: [
      {
        type: 'sse',
        url: `${request.protocol}://${request.host}${EVENTS}?key=${eventsKey(options)}`,
        inactivityDelaySec: INACTIVITY_S,
      },
    ],
  });
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  void reply.header('etag', etag);
  if (namesTag(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.type('application/json').send(body);
}

function namesTag(header: string | undefined, etag: string): boolean {
  return header !== undefined && header.split(',').some((each) => ['*', etag, `W/${etag}`].includes(each.trim()));
}

function marked(flags: FlagService, evaluation: Evaluation): Evaluation {
  return flags.isStale ? { ...evaluation, metadata: { ...evaluation.metadata, stale: true } } : evaluation;
}

interface Refusal {
  readonly code: ErrorCode;
  readonly details: string;
}

function readContext(body: unknown): EvaluationContext | Refusal {
  const parsed = bodySchema.safeParse(body ?? {});
  if (!parsed.success) return { code: 'INVALID_CONTEXT', details: z.prettifyError(parsed.error).replaceAll('\n', ' ') };
  const { targetingKey, tenant, table } = parsed.data.context ?? {};
  return {
    ...(targetingKey !== undefined && { targetingKey }),
    ...(tenant !== undefined && { tenant }),
    ...(table !== undefined && { table }),
  };
}

/** Then the SDK answers with the application's own default. */
function unknownYet(reply: FastifyReply, key?: string): FastifyReply {
  const details = 'the flags are not known here yet: the target has not answered';
  return refuse(reply, 500, { ...(key !== undefined && { key }), code: 'GENERAL', details });
}

function refuse(reply: FastifyReply, status: number, { key, code, details }: Refusal & { readonly key?: string }): FastifyReply {
  return reply.code(status).send({ ...(key !== undefined && { key }), errorCode: code, errorDetails: details });
}

interface Failure {
  readonly status: number;
  readonly key: string | undefined;
  readonly error: unknown;
}

function failure(reply: FastifyReply, { status, key, error }: Failure): FastifyReply {
  const details = error instanceof Error ? error.message : String(error);
  return refuse(reply, status, { ...(key !== undefined && { key }), code: status === 400 ? 'PARSE_ERROR' : 'GENERAL', details });
}

function statusOf(error: unknown): number {
  const { statusCode, code } = error as { readonly statusCode?: number; readonly code?: string };
  if (code === 'CF-7004') return 401;
  return statusCode !== undefined && statusCode >= 400 && statusCode < 500 ? statusCode : 500;
}

function keyOf(request: FastifyRequest): string | undefined {
  return (request.params as { readonly key?: string } | undefined)?.key;
}

/** Not guessed from anything but a token, and no way back to it. */
function eventsKey({ tokens }: Pick<OfrepOptions, 'tokens'>): string {
  return createHmac('sha256', tokens[0] ?? '')
    .update('crossfade flag events')
    .digest('base64url');
}

function keyOr(key: string, orElse: ReturnType<typeof requireToken>): ReturnType<typeof requireToken> {
  return async (request, reply) => {
    const given = (request.query as { readonly key?: unknown }).key;
    if (typeof given !== 'string' || !isSame(given, key)) await orElse(request, reply);
  };
}

/** Those who wait for events. */
class EventStreams {
  readonly #open = new Set<FastifyReply['raw']>();
  readonly #flags: FlagService;
  readonly #unlisten: () => void;
  readonly #timer: NodeJS.Timeout;

  constructor(flags: FlagService) {
    this.#flags = flags;
    this.#unlisten = flags.onChange((document) => this.#write(eventOf(document)));
    this.#timer = setInterval(() => this.#write(': still here\n\n'), KEEP_ALIVE_MS);
    this.#timer.unref();
  }

  /** One event at once: what was missed while nobody listened. */
  open(reply: FastifyReply): FastifyReply {
    void reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    this.#open.add(reply.raw);
    reply.raw.once('close', () => this.#open.delete(reply.raw));
    const { document } = this.#flags;
    reply.raw.write(document === undefined ? ': nothing is known yet\n\n' : eventOf(document));
    return reply;
  }

  #write(event: string): void {
    for (const stream of this.#open) stream.write(event);
  }

  close(): void {
    this.#unlisten();
    clearInterval(this.#timer);
    for (const stream of this.#open) stream.end();
  }
}

function eventOf(document: FlagDocument): string {
  const revision = revisionOf(document);
  return `id: ${revision}\nevent: message\ndata: ${JSON.stringify({ type: 'refetchEvaluation', etag: `"${revision}"` })}\n\n`;
}
