import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import type { ServiceRequest } from '#schemas/service-request.ts';
import { appendControl } from '#services/reader/follow.ts';
import { RequestFeed } from '#services/reader/request-feed.ts';
import { silentLogger } from '#services/runtime/service.ts';

interface World {
  readonly requests: Topic;
  readonly progress: Topic;
  readonly done: string[];
  ask(request: ServiceRequest): Promise<void>;
  /** One run of the feed. */
  start(): () => Promise<void>;
}

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
  const copier = {
    requestRecopy: async (request: RecopyRequest, id = ''): Promise<string> => {
      if (request.table === 'unknown') throw new PipelineError('CF-1008', 'not part of this migration');
      done.push(`recopy ${id}`);
      return id;
    },
    pause: (): void => void done.push('pause'),
    resume: (): void => void done.push('resume'),
    setThrottle: (limits: unknown): void => void done.push(`throttle ${JSON.stringify(limits)}`),
    progress: () => [],
  };
  return {
    requests,
    progress,
    done,
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
  await vi.waitFor(() => expect(world.done).toEqual(['recopy a', 'pause', 'throttle {"rowsPerSecond":5}']));
  await vi.waitFor(() => expect(world.progress.end(0)).toBeGreaterThan(0));
  await stop();
  world.done.length = 0;
  await world.ask({ t: 'recopy', id: 'd', request: TABLE });
  const stopAgain = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['recopy d']));
  await stopAgain();
});

test('a request that cannot be met does not stand in the way of the next', async () => {
  const world = await openWorld();
  await world.ask({ t: 'recopy', id: 'a', request: { ...TABLE, table: 'unknown' } });
  await world.ask({ t: 'recopy', id: 'b', request: TABLE });
  const stop = world.start();
  await vi.waitFor(() => expect(world.done).toEqual(['recopy b']));
  await stop();
});

test('a resume is handed on to the sink with the tables that the reader itself holds', async () => {
  const world = await openWorld();
  await world.ask({ t: 'resume', id: 'a' });
  const stop = world.start();
  await vi.waitFor(() => expect(world.requests.end(0)).toBe(2));
  await stop();
  expect(world.done).toEqual(['resume']);
});
