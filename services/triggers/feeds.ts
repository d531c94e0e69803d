/**
 * What triggers are fed with. Guarantee: a look that fails, answers something else than one number, or takes too long gives no sample, which the evaluation
 * takes for a gap; no look changes anything.
 */
import type { Sample, Trigger } from '#schemas/triggers/trigger.ts';

/** A minute of what applications report: the part of it that triggers need. */
export interface ReportedMinute {
  /** When it began, in UTC. */
  readonly at: string;
  readonly source: ReportedSide;
  readonly target: ReportedSide;
}

export interface ReportedSide {
  readonly count: number;
  readonly errors: number;
  readonly p99Ms: number | null;
}

export interface FeedPorts {
  /** Of the last hours. Undefined: nothing is reported to this process. */
  reports(): readonly ReportedMinute[] | Promise<readonly ReportedMinute[]>;
  /** Rows that the running comparison has confirmed to differ. */
  differingRows(): Promise<number>;
  targetAnswers(): Promise<boolean>;
  readonly fetch: typeof fetch;
}

const MINUTE_MS = 60_000;
const LOOK_MS = 5_000;

/** Of minutes that lie wholly before the flip what the source served, of those wholly after it what the target did. */
export function reportSamples(
  { kind }: Pick<Trigger, 'kind'>,
  minutes: readonly ReportedMinute[],
  at: { readonly flippedAtMs: number; readonly nowMs: number },
): Sample[] {
  return minutes.flatMap((minute) => {
    const startMs = Date.parse(minute.at);
    const endMs = Math.min(startMs + MINUTE_MS, at.nowMs);
    const isAfter = startMs >= at.flippedAtMs;
    if (!isAfter && startMs + MINUTE_MS > at.flippedAtMs) return [];
    const { count, errors, p99Ms } = isAfter ? minute.target : minute.source;
    if (kind === 'errors') return [{ atMs: endMs, sum: errors, count }];
    return p99Ms === null ? [] : [{ atMs: endMs, sum: p99Ms * count, count }];
  });
}

/** One number now; undefined: it could not be had. */
export async function look(trigger: Trigger, ports: FeedPorts, nowMs: number): Promise<Sample | undefined> {
  const value = await measured(trigger, ports, nowMs);
  return value === undefined || !Number.isFinite(value) ? undefined : { atMs: nowMs, sum: value, count: 1 };
}

async function measured({ kind, feed }: Trigger, ports: FeedPorts, nowMs: number): Promise<number | undefined> {
  if (feed.kind === 'reports') return undefined;
  if (feed.kind === 'promql') return askPrometheus(feed, ports.fetch, nowMs);
  if (feed.kind === 'http') return askHttp(feed, ports.fetch);
  if (kind === 'drift') return ports.differingRows().catch(() => undefined);
  return (await ports.targetAnswers().catch(() => false)) ? 0 : 1;
}

/** Points of the time before the flip, which Prometheus still knows. */
const BASELINE_POINTS_MS: readonly number[] = [1, 5, 10, 20, 30].map((minutes) => minutes * MINUTE_MS);

export async function pastSamples({ feed }: Trigger, ports: FeedPorts, flippedAtMs: number): Promise<Sample[]> {
  if (feed.kind !== 'promql') return [];
  const points = BASELINE_POINTS_MS.map((ms) => flippedAtMs - ms);
  const values = await Promise.all(points.map(async (atMs) => ({ atMs, value: await askPrometheus(feed, ports.fetch, atMs) })));
  return values.flatMap(({ atMs, value }) => (value === undefined || !Number.isFinite(value) ? [] : [{ atMs, sum: value, count: 1 }]));
}

interface Asked {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function askPrometheus(
  { url, query, headers }: Asked & { readonly query: string },
  get: typeof fetch,
  atMs: number,
): Promise<number | undefined> {
  const address = new URL(`${url.replace(/\/+$/, '')}/api/v1/query`);
  address.searchParams.set('query', query);
  address.searchParams.set('time', String(atMs / 1000));
  const answer = (await json({ url: address.href, headers }, get)) as Partial<Answered> | null | undefined;
  const result = answer?.data?.result;
  if (!Array.isArray(result)) return undefined;
  // A scalar is [time, value]; a vector has one such for each series, and of several none is meant.
  const pair: unknown =
    answer?.data?.resultType === 'scalar' ? result : result.length === 1 ? (result[0] as Partial<Answered> | null)?.value : undefined;
  return Array.isArray(pair) && typeof pair[1] === 'string' ? Number(pair[1]) : undefined;
}

interface Answered {
  readonly data: { readonly resultType?: string; readonly result?: unknown } | null;
  readonly value: unknown;
}

async function askHttp({ value, ...asked }: Asked & { readonly value?: string }, get: typeof fetch): Promise<number | undefined> {
  if (value === undefined) return failed(asked, get);
  const answer = await json(asked, get);
  const found = value
    .split('.')
    .reduce<unknown>((at, key) => (typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined), answer);
  return typeof found === 'number' ? found : undefined;
}

/** Whether it answers with 2xx is all that is asked. One that sends elsewhere (to a page where one logs in, which is always well) is neither well nor failed. */
async function failed(asked: Asked, get: typeof fetch): Promise<0 | 1 | undefined> {
  try {
    const response = await get(asked.url, { ...requested(asked), redirect: 'manual' });
    if (response.ok) await response.arrayBuffer();
    else await response.body?.cancel();
    return response.ok ? 0 : response.status >= 300 && response.status < 400 ? undefined : 1;
  } catch {
    return 1;
  }
}

async function json(asked: Asked, get: typeof fetch): Promise<unknown> {
  try {
    const response = await get(asked.url, requested(asked));
    if (response.ok) return await response.json();
    await response.body?.cancel();
    return undefined;
  } catch {
    return undefined;
  }
}

function requested({ headers }: Asked): RequestInit {
  return { signal: AbortSignal.timeout(LOOK_MS), headers: { accept: 'application/json', ...headers } };
}
