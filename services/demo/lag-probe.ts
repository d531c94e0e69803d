/**
 * Lag as a customer would see it: a row is written on the source, and timed until the target shows it. Guarantee: measured outside the
 * pipeline, by SQL on both sides; the outage of a killed pipeline is in the figures.
 */
import pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';

export interface LagFigures {
  readonly probes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const PROBE_EVERY_MS = 100;
const LOOK_EVERY_MS = 4;

export class LagProbe {
  readonly #delaysMs: number[] = [];
  readonly #source: pg.Client;
  readonly #target: pg.Client;
  #stopping = false;
  #loop: Promise<void> = Promise.resolve();

  private constructor(sourceUrl: string, targetUrl: string) {
    this.#source = new pg.Client({ connectionString: sourceUrl });
    this.#target = new pg.Client({ connectionString: targetUrl });
  }

  static async start(sourceUrl: string, targetUrl: string): Promise<LagProbe> {
    const probe = new LagProbe(sourceUrl, targetUrl);
    // A server that goes away fails the next query; said by event as well it would end the process before anybody is told why.
    for (const client of [probe.#source, probe.#target]) client.on('error', () => undefined);
    await Promise.all([probe.#source.connect(), probe.#target.connect()]);
    probe.#loop = probe.#run();
    probe.#loop.catch(() => undefined); // thrown again by stop
    return probe;
  }

  /** Resolves once the last probe was seen: everything committed on the source before it is on the target too. */
  async stop(): Promise<LagFigures> {
    this.#stopping = true;
    try {
      await this.#loop;
    } finally {
      await Promise.all([this.#source.end(), this.#target.end()]);
    }
    const sorted = this.#delaysMs.toSorted((a, b) => a - b);
    const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
    return { probes: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  }

  async #run(): Promise<void> {
    for (;;) {
      const last = this.#stopping;
      await this.#probe();
      if (last) return;
      await delay(PROBE_EVERY_MS);
    }
  }

  async #probe(): Promise<void> {
    const { rows } = await this.#source.query<{ id: number }>(
      'insert into tbl_ping select coalesce(max(ping_id), 0) + 1, clock_timestamp() from tbl_ping returning ping_id as id',
    );
    const began = performance.now();
    while ((await this.#target.query('select 1 from app.pings where id = $1', [rows[0]?.id])).rowCount === 0) await delay(LOOK_EVERY_MS);
    this.#delaysMs.push(performance.now() - began);
  }
}
