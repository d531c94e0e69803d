import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import type { ThrottleBody, ThrottleResult } from '#schemas/status/control-request.ts';
import type { ServiceRequest } from '#schemas/service-request.ts';
import { appendControl } from '#services/reader/follow.ts';
import { RequestFeed } from '#services/reader/request-feed.ts';
import { silentLogger } from '#services/runtime/service.ts';

interface World {
  readonly requests: Topic;
  readonly progress: Topic;
  readonly done: string[];
  ask(request: ServiceRequest | Record<string, unknown>): Promise<void>;
  /** What the next looks at the source answer, one each; then it says yes. */
  readonly sourceSays: PipelineError[];
  /** One run of the feed. */
  start(): () => Promise<void>;
}

const WAIT = { timeout: 20_000, interval: 10 };
const TABLE: RecopyRequest = { kind: 'table', schema: 'public', table: 'item', reason: 'test' };

async function openWorld(): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-requests-'));
  const log = await openEmbeddedLog({ directory });
  onTestFinished(async () => {
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });
  const requests = await log.topic('requests', { partitions: 1 });
  const progress = await log.topic('progress', { partitions: 1 });
  const done: string[] = [];
  const sourceSays: PipelineError[] = [];
  const copier = {
    checkRecopy: async (request: RecopyRequest): Promise<RecopyRequest> => {
      const error = sourceSays.shift();
      if (error !== undefined) throw error;
      return request;
    },
    requestRecopy: async (request: RecopyRequest, id = ''): Promise<string> => {
      if (request.table === 'unknown') throw new PipelineError('CF-1008', 'not part of this migration');
      done.push(`recopy ${id}`);
      return id;
    },
    operator: {
      pause: async (): Promise<void> => void done.push('pause'),
      resume: async (): Promise<void> => void done.push('resume'),
      throttle: async (limits: ThrottleBody): Promise<ThrottleResult> => {
        done.push(`throttle ${JSON.stringify(limits)}`);
        return { maxRowsPerSecond: null, maxBytesPerSecond: null, ...limits };
      },
      refuse: async ({ id, table }: { readonly id: string; readonly table: string }): Promise<void> =>
        void done.push(`refused ${id} ${table}`),
    },
    progress: () => [],
  };
  return {
    requests,
    progress,
    done,
    sourceSays,
    ask: async (request) => void (await appendControl(requests, request)),
    start: () => {
      const stop = new AbortController();
      const feed = new RequestFeed({ requests, progress, copier, logger: silentLogger, makeId: () => 'id' });
      const run = feed.run(stop.signal);
      return async () => {
        stop.abort();
        await run;
      };
    },
  };
}

test('requests are handed on in order; what another start finds recorded is not handed on again', async () => {
  const world = await openWorld();
  await world.ask({ t: 'recopy', id: 'a', request: TABLE });
  await world.ask({ t: 'pause', id: 'b' });
  await world.ask({ t: 'throttle', id: 'c', maxRowsPerSecond: 5 });
  const stop = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['recopy a', 'pause', 'throttle {"maxRowsPerSecond":5}']), WAIT);
  await vi.waitFor(() => expect(world.progress.end(0)).toBeGreaterThan(0), WAIT);
  await stop();
  world.done.length = 0;
  await world.ask({ t: 'recopy', id: 'd', request: TABLE });
  const stopAgain = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['recopy d']), WAIT);
  await stopAgain();
});

test('a request that cannot be met does not stand in the way of the next', async () => {
  const world = await openWorld();
  await world.ask({ t: 'recopy', id: 'a', request: { ...TABLE, table: 'unknown' } });
  await world.ask({ t: 'recopy', id: 'b', request: TABLE });
  const stop = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['refused given:a public.unknown', 'recopy b']), WAIT);
  await stop();
});

test('what is no request, or one of a later version, fails by itself; who asked by an id hears of it', async () => {
  const world = await openWorld();
  const cut = Buffer.from('{"t":"pau', 'utf8');
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(cut.length);
  await world.requests.append(0, { count: 2, parts: [prefix, cut, Buffer.alloc(4)] });
  await world.ask({ t: 'archive', id: 'later' });
  await world.ask({ t: 'recopy', id: 'other', request: { ...TABLE, kind: 'partition' } });
  await world.ask({ t: 'recopy', id: 'odd', request: { ...TABLE, kind: 'keys', keys: [[7]] } });
  await world.ask({ t: 'throttle', id: 'none', maxRowsPerSecond: 0 });
  await world.ask({ t: 'recopy', id: 'b', request: TABLE });
  const stop = world.start();
  const refused = ['later', 'other', 'odd', 'none'].map((id) => `refused given:${id} `);
  await vi.waitFor(() => expect(world.done).toEqual([...refused, 'recopy b']), WAIT);
  await stop();
});

test('a request that cannot be looked at waits for the source; one that the source does not take is refused', async () => {
  const world = await openWorld();
  world.sourceSays.push(new PipelineError('CF-2001', 'away'), new PipelineError('CF-1009', 'no value of its type'));
  await world.ask({ t: 'recopy', id: 'a', request: TABLE });
  await world.ask({ t: 'recopy', id: 'b', request: TABLE });
  const stop = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['refused given:a public.item', 'recopy b']), WAIT);
  await stop();
});

test('what the sink asks for is not refused for its values', async () => {
  const world = await openWorld();
  world.sourceSays.push(new PipelineError('CF-1009', 'no value of its type'));
  await world.ask({ t: 'recopy', id: 'a', request: TABLE, by: 'sink' });
  const stop = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['recopy a']), WAIT);
  await stop();
});

test('a resume is handed on to the sink with the tables that the reader itself holds', async () => {
  const world = await openWorld();
  await world.ask({ t: 'resume', id: 'a' });
  const stop = world.start();
  await vi.waitFor(() => expect(world.requests.end(0)).toBe(2), WAIT);
  await stop();
  expect(world.done).toEqual(['resume']);
});
