/**
 * Metrics behind an interface of ours. Guarantee: no other file knows the metrics library; a name is registered once, with its unit
 * last in its name, and asking for it again gives the same metric.
 */
import { Counter as PromCounter, Gauge as PromGauge, Histogram as PromHistogram, Registry } from 'prom-client';
import { invariant } from '#schemas/errors.ts';

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  add(value: number, labels?: Labels): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
}

export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

export interface MetricOptions {
  /** `crossfade_` is put before it. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

export interface Meter {
  counter(options: MetricOptions): Counter;
  /** `read`, where given, is called at each scrape, so the gauge is never stale; undefined takes the sample away (unknown is not zero). */
  gauge(options: MetricOptions, read?: () => number | undefined): Gauge;
  /** As `gauge`, of several at once: what `read` leaves out has no sample. */
  labelled(options: MetricOptions, read: () => readonly { readonly labels: Labels; readonly value: number }[]): void;
  histogram(options: MetricOptions & { readonly buckets: readonly number[] }): Histogram;
}

export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

const PREFIX = 'crossfade_';

export function createMeter(): Meter & MetricsPage {
  const registry = new Registry();
  const known = new Map<string, object>();
  const once = <T extends object>(kind: string, options: MetricOptions, make: (name: string, labelNames: string[]) => T): T => {
    const name = PREFIX + options.name;
    const id = `${kind} ${name}`;
    const found = known.get(id);
    if (found !== undefined) return found as T;
    invariant(registry.getSingleMetric(name) === undefined, `metric ${name} is of one kind`);
    const metric = make(name, [...(options.labels ?? [])]);
    known.set(id, metric);
    return metric;
  };
  return {
    counter: (options) =>
      once('counter', options, (name, labelNames) => {
        const metric = new PromCounter({ name, help: options.help, labelNames, registers: [registry] });
        return { add: (value: number, labels: Labels = {}): void => metric.inc({ ...labels }, value) };
      }),
    gauge: (options, read) =>
      once('gauge', options, (name, labelNames) => {
        const metric: PromGauge = new PromGauge({
          name,
          help: options.help,
          labelNames,
          registers: [registry],
          ...(read && { collect: () => refresh(metric, read) }),
        });
        return { set: (value: number, labels: Labels = {}): void => metric.set({ ...labels }, value) };
      }),
    labelled: (options, read) => {
      once('gauge', options, (name, labelNames) => {
        const metric: PromGauge = new PromGauge({
          name,
          help: options.help,
          labelNames,
          registers: [registry],
          collect: () => {
            metric.reset();
            for (const { labels, value } of read()) metric.set({ ...labels }, value);
          },
        });
        return metric;
      });
    },
    histogram: (options) =>
      once('histogram', options, (name, labelNames) => {
        const metric = new PromHistogram({ name, help: options.help, labelNames, buckets: [...options.buckets], registers: [registry] });
        return { observe: (value: number, labels: Labels = {}): void => metric.observe({ ...labels }, value) };
      }),
    contentType: registry.contentType,
    text: () => registry.metrics(),
  };
}

function refresh(metric: PromGauge, read: () => number | undefined): void {
  const value = read();
  if (value === undefined) metric.remove();
  else metric.set(value);
}
