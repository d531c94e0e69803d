/** Triggers on a real target: armed by a flip, fed over HTTP and by reports, recorded, and acted on once and after a restart. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { readAudit, verifyAudit } from '#connectors/target/postgres/audit.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { silentLogger } from '#services/runtime/service.ts';
import type { ReportedMinute } from '#services/triggers/feeds.ts';
import { TriggerWatch } from '#services/triggers/trigger-watch.ts';
import { triggerPorts } from '#services/up/triggers.ts';
import { CUT_OVER } from '#test/support/moved-shop.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const NAME = 'shop';
const MINUTE = 60_000;

/** Answers as Prometheus does, or with plain JSON; `undefined` fails. */
async function feed(value: () => number | undefined): Promise<{ readonly url: string } & AsyncDisposable> {
  const server: Server = createServer((request, response) => {
    const now = value();
    if (now === undefined) {
      response.writeHead(503).end();
      return;
    }
    const body = request.url!.startsWith('/api/v1/query')
      ? { data: { resultType: 'vector', result: [{ metric: {}, value: [0, String(now)] }] } }
      : { data: { rate: now } };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

function fileOf(url: string, triggers: string): MigrationFile {
  const text = `crossfade: 1\nname: ${NAME}\nsource: { postgres: "${url}" }\ntarget: { postgres: "${url}" }\ntables:\n  - from: public.*\n${triggers}`;
  const { file, findings } = readMigrationFile({ path: 'shop.yaml', text, env: {} });
  if (file === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
  return file;
}

interface Watched {
  readonly watch: TriggerWatch;
  readonly rollbacks: string[];
  minutes: ReportedMinute[];
  nowMs: number;
}

/** A process of its own: what it knew before is on the target only. */
function watched(file: MigrationFile, nowMs: number): Watched {
  const rollbacks: string[] = [];
  const self: Watched = {
    rollbacks,
    minutes: [],
    nowMs,
    watch: new TriggerWatch(
      file.triggers!,
      {
        ...triggerPorts({ file, actor: 'test', reports: () => self.minutes, startRollback: async (reason) => void rollbacks.push(reason) }),
        nowMs: () => self.nowMs,
      },
      silentLogger,
    ),
  };
  return self;
}

async function cutOver(url: string): Promise<void> {
  const lease = await takeMigrationLease({ url, name: NAME, holder: 'test' });
  for (const [event, details] of CUT_OVER) await lease.apply(event, { actor: 'Ada', ...(details !== undefined && { details }) });
  await lease.release();
}

const side = (count: number, errors: number, p99Ms = 20): ReportedMinute['source'] => ({ count, errors, p99Ms });

test('2 % of errors in what applications report roll back, once, and again after a restart until it is done', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  const file = fileOf(
    url,
    `triggers:
  - { name: errors, when: errors, action: rollback }
  - { name: slow, when: slow }
`,
  );
  const first = watched(file, Date.now());
  await first.watch.tick();
  expect(first.watch.verdicts).toEqual([]); // nothing is observed yet

  await cutOver(url);
  const flippedAtMs = Date.parse((await readAudit(url, NAME)).at(-1)!.at);
  const minute = (offset: number, sides: Pick<ReportedMinute, 'source' | 'target'>): ReportedMinute => ({
    at: new Date(flippedAtMs + offset * MINUTE).toISOString(),
    ...sides,
  });
  const before = [
    minute(-3, { source: side(1000, 0), target: side(1000, 900, 500) }),
    minute(-2, { source: side(1000, 1), target: side(0, 0) }),
  ];
  // A minute in which the flip falls says nothing of either side.
  const astride = minute(-0.5, { source: side(500, 400), target: side(500, 400) });
  first.minutes = [...before, astride];
  first.nowMs = flippedAtMs + MINUTE;
  await first.watch.tick();
  expect(first.watch.verdicts.map(({ name, state }) => [name, state])).toEqual([
    ['errors', 'unknown'],
    ['slow', 'unknown'],
  ]);
  expect((await readAudit(url, NAME)).at(-1)).toMatchObject({ event: 'triggers-armed', details: { baselines: { slow: 20 } } });

  // The flip is dated by the target's clock, whose distance from ours is measured: not to the millisecond on a busy machine.
  first.minutes = [...before, astride, minute(0.1, { source: side(0, 0), target: side(1000, 5, 30) })];
  await first.watch.tick();
  expect(first.watch.verdicts).toMatchObject([
    { state: 'quiet', value: 0.005 },
    { state: 'quiet', value: 30, limit: 40 },
  ]);
  expect(first.rollbacks).toEqual([]);

  first.minutes.push(minute(1, { source: side(0, 0), target: side(1000, 35, 70) }));
  first.nowMs += MINUTE;
  await first.watch.tick();
  expect(first.rollbacks).toEqual(['trigger errors: 2.00 % errors over 5 min, limit 1.00 % errors']);
  await first.watch.tick();
  expect(first.rollbacks).toHaveLength(1); // not again at once

  // Killed here: whoever comes next knows from the audit trail, whatever it sees.
  const second = watched(file, first.nowMs + MINUTE);
  await second.watch.tick();
  expect(second.rollbacks).toHaveLength(1);
  const fired = (await readAudit(url, NAME)).filter(({ event }) => event === 'trigger-fired');
  expect(fired.map(({ details }) => [details['trigger'], details['action']])).toEqual([
    ['errors', 'rollback'],
    ['slow', 'ask'],
  ]);
  expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true });

  // Rolled back, nothing is watched; a second cut-over arms anew.
  const lease = await takeMigrationLease({ url, name: NAME, holder: 'test' });
  for (const event of ['rollback-begun', 'decided', 'finished'] as const) await lease.apply(event, { actor: 'Ada' });
  await lease.release();
  second.nowMs += 2 * MINUTE;
  await second.watch.tick();
  expect(second.watch.verdicts).toEqual([]);
  expect(second.rollbacks).toHaveLength(1);
  await cutOver(url);
  second.nowMs = Date.now() + MINUTE;
  await second.watch.tick();
  expect(second.rollbacks).toHaveLength(1);
  expect(second.watch.verdicts.map(({ state }) => state)).toEqual(['unknown', 'unknown']);
});

test('a feed over HTTP or PromQL fires; one that fails is unknown, and never quiet', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  let value: number | undefined = 10;
  await using server = await feed(() => value);
  const file = fileOf(
    url,
    `triggers:
  - { name: rate, when: errors, window: 10s, from: { http: { url: "${server.url}/health", value: data.rate } } }
  - { name: query, when: slow, window: 10s, from: { promql: { url: "${server.url}", query: "histogram_quantile(0.99, x)" } } }
  - { name: alive, when: failure, window: 10s, from: { http: { url: "${server.url}/live" } } }
  - { name: store, when: failure, window: 10s }
  - { name: drift, when: drift }
`,
  );
  await cutOver(url);
  const one = watched(file, Date.now());
  const ticks = async (now: number | undefined): Promise<Record<string, string>> => {
    value = now;
    for (let i = 0; i < 3; i++) {
      one.nowMs += 5_000;
      await one.watch.tick();
    }
    return Object.fromEntries(one.watch.verdicts.map(({ name, state }) => [name, state]));
  };
  expect(await ticks(0.001)).toEqual({ rate: 'quiet', query: 'quiet', alive: 'quiet', store: 'quiet', drift: 'quiet' });
  expect(await ticks(undefined)).toEqual({ rate: 'unknown', query: 'unknown', alive: 'fired', store: 'quiet', drift: 'quiet' });
  expect(await ticks(30)).toMatchObject({ rate: 'fired', query: 'fired', alive: 'quiet' });
  expect(one.rollbacks).toEqual([]); // none says rollback
});
