/**
 * The reader: source → raw log. Guarantee: the slot moves only to ends of commits whose every record, and every control record
 * they caused, is durable; whatever ends a session, the next one goes on from what is durable.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { encodeJsonFrame, FRAME, MESSAGE_PREFIX, type EpochFrame, type OurMessage } from '#schemas/frame/frame.ts';
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, minLsn, parseLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { PipelineSettings } from '#schemas/config/migration-file.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { ensurePublication, readPublicationPrints, tablesNotPublishedThroughout } from '#connectors/source/postgres/publication.ts';
import {
  createSlot,
  dropSlot,
  hasSettled,
  identifySystem,
  nextTransaction,
  readSlot,
  runningTransactions,
  type SlotHealth,
} from '#connectors/source/postgres/slot.ts';
import { startStream, type ReplicationStream } from '#connectors/source/postgres/stream.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { RECONNECT, waitBackoff } from '#services/runtime/backoff.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import type { CopyHooks } from './copy/copy-port.ts';
import type { DurableRecord, EpochRecord, PublicationRecord } from './control-records.ts';
import { appendControl, Follower } from './follow.ts';
import { checkIdentity, checkSlot, recoverLog, type RecoveredLog } from './recover.ts';
import { SourceSession } from './source-session.ts';

/** How often the slot is moved; each move costs one control record, and a start reads them all. */
const CONFIRM_EVERY_MS = 2_000;
/** A slot that would move less than this waits longer: an idle database's log must not grow by its own bookkeeping. */
const CONFIRM_AT_ONCE_BYTES = 1n << 16n;
const CONFIRM_IDLE_MS = 10_000;
/** Status is repeated this often at least, or every third of wal_sender_timeout where that is shorter. */
const STATUS_EVERY_MS = 3_000;
const TICK_MS = 250;
const HEALTH_EVERY_MS = 2_000;

export interface ReaderOptions {
  readonly name: string;
  readonly url: string;
  readonly raw: Topic;
  readonly progress: Topic;
  readonly tables: readonly CatalogTable[];
  readonly settings: PipelineSettings;
  readonly copy: CopyHooks;
  /** Highest LSN that the target shows; undefined before the change-over. For the check of a fail-over. */
  readonly appliedLsn: () => Lsn | undefined;
  /** A table's changes were not streamed for a while: all of it is to be copied again. Resolves once that is durable. */
  readonly recopy: (table: CatalogTable, reason: string) => Promise<void>;
  /** Called once, when the first stream runs and the epoch is durable. */
  readonly onStarted: () => void;
  readonly logger: Logger;
}

export interface ReaderStatus {
  readonly connected: boolean;
  readonly epoch: number;
  readonly restarts: number;
  readonly durableEnd: Lsn;
  readonly confirmed: Lsn;
  readonly currentLsn: Lsn | undefined;
  readonly slot: SlotHealth | undefined;
  readonly error: string | undefined;
}

export class Reader implements Service {
  readonly id = 'reader';
  readonly #options: ReaderOptions;
  readonly #session: SourceSession;
  #follower: Follower | undefined;
  #stream: ReplicationStream | undefined;
  #connected = false;
  #epoch = 0;
  #restarts = 0;
  #started = false;
  #confirmed: Lsn = ZERO_LSN;
  #current: Lsn | undefined;
  #slot: SlotHealth | undefined;
  #error: string | undefined;
  /** Under what each relation was published when this session began. */
  #prints: ReadonlyMap<string, string> = new Map();
  #statusEveryMs = STATUS_EVERY_MS;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#session = new SourceSession(options.url, `crossfade ${options.name} reader`);
  }

  status(): ReaderStatus {
    return {
      connected: this.#connected,
      epoch: this.#epoch,
      restarts: this.#restarts,
      durableEnd: this.#follower?.durableEnd ?? ZERO_LSN,
      confirmed: this.#confirmed,
      currentLsn: this.#current,
      slot: this.#slot,
      error: this.#error,
    };
  }

  /** Writes a marker into the source's WAL; it passes through the log to the sink, which reports its id once applied. */
  async writeMarker(): Promise<string> {
    const id = randomUUID();
    await this.#emit({ kind: 'marker', name: this.#options.name, id });
    return id;
  }

  async run(signal: AbortSignal): Promise<void> {
    let attempt = 0;
    while (!signal.aborted) {
      const startedAt = Date.now();
      try {
        await this.#runSession(signal);
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof InvariantError || (error instanceof PipelineError && !isRetried(error))) throw error;
        this.#error = messageOf(error);
        this.#options.logger.warn({ error: this.#error }, 'reading from the source was interrupted; trying again');
        attempt = Date.now() - startedAt > 60_000 ? 0 : attempt + 1;
        this.#restarts++;
        await waitBackoff(RECONNECT, attempt - 1, signal).catch(() => undefined);
      }
    }
    await this.#session.close();
  }

  async #runSession(signal: AbortSignal): Promise<void> {
    const options = this.#options;
    const log = await recoverLog(options.raw, options.progress);
    failpoint('start.log-recovered');
    const identity = await identifySystem(options.url, log.identity?.timeline);
    checkIdentity(log.identity, identity, maxLsn(log.durableEnd, options.appliedLsn() ?? ZERO_LSN));
    failpoint('start.connected');
    const slotted = await this.#prepareSource(log, signal);
    this.#epoch = await appendControl(options.progress, {
      t: 'epoch',
      systemId: identity.systemId,
      timeline: identity.timeline,
    } satisfies EpochRecord);
    await this.#writeEpoch({ epoch: this.#epoch, systemId: identity.systemId, timeline: identity.timeline });
    failpoint('start.epoch-written');
    const session = Promise.withResolvers<never>();
    session.promise.catch(() => undefined);
    options.copy.onStreamRestart();
    const follower = this.#follow(slotted, session.reject);
    this.#follower = follower;
    this.#confirmed = slotted.confirmed;
    try {
      await this.#followStream(follower, session.promise, signal);
    } finally {
      await follower.close();
    }
  }

  /** One stream, from its start to whatever ends it. */
  async #followStream(follower: Follower, failed: Promise<never>, signal: AbortSignal): Promise<void> {
    const options = this.#options;
    const stream = await startStream(
      { url: options.url, slot: options.name, publication: options.name, applicationName: `crossfade ${options.name} stream` },
      {
        onMessage: (message) => follower.onMessage(message),
        onKeepalive: (end, replyRequested) => {
          follower.onKeepalive(end);
          if (replyRequested) this.#stream?.sendStatus(this.#confirmed);
        },
      },
    );
    this.#stream = stream;
    this.#connected = true;
    this.#error = undefined;
    if (!this.#started) {
      this.#started = true;
      options.onStarted();
    }
    const stop = new AbortController();
    const ended = AbortSignal.any([signal, stop.signal]);
    try {
      await Promise.race([stream.done, failed, this.#tend(follower, stream, ended), this.#watch(ended), aborted(signal)]);
      if (signal.aborted) await this.#confirm(follower, stream);
    } finally {
      stop.abort();
      this.#connected = false;
      this.#stream = undefined;
      await stream.stop();
    }
  }

  #follow(log: RecoveredLog, fail: (error: unknown) => void): Follower {
    return new Follower({
      name: this.#options.name,
      raw: this.#options.raw,
      progress: this.#options.progress,
      copy: this.#options.copy,
      lastCommit: log.lastCommit,
      durableEnd: log.durableEnd,
      pause: () => this.#stream?.pause(),
      resume: () => this.#stream?.resume(),
      fail,
    });
  }

  async #prepareSource(log: RecoveredLog, signal: AbortSignal): Promise<RecoveredLog> {
    const { name, settings, logger, progress, raw } = this.#options;
    const client = await this.#session.client();
    this.#statusEveryMs = await statusInterval(client);
    const slot = await readSlot(client, name);
    checkSlot(name, slot, log);
    await this.#preparePublication(client, log, slot !== undefined, signal);
    if (slot && !log.fresh) return log;
    if (!slot)
      logger.info(
        { waitsFor: await runningTransactions(client) },
        'creating the replication slot; it waits for running transactions to end',
      );
    const onAbort = (): void => void this.#session.close();
    signal.addEventListener('abort', onAbort, { once: true });
    const confirmed = slot ? slot.confirmedFlush : await createSlot(client, name, settings.slot.failover);
    signal.removeEventListener('abort', onAbort);
    const text = formatLsn(confirmed);
    await appendControl(progress, {
      t: 'durable',
      offset: raw.end(0),
      commitLsn: '0/0',
      endLsn: text,
      confirm: text,
    } satisfies DurableRecord);
    return { ...log, fresh: false, durableEnd: confirmed, confirmed };
  }

  /** Changes of a table that was not published for a while were never streamed, whatever the slot says: it is copied again. */
  async #preparePublication(client: pg.Client, log: RecoveredLog, isSlotThere: boolean, signal: AbortSignal): Promise<void> {
    const { name, settings, tables, logger, progress, recopy } = this.#options;
    const found = await readPublicationPrints(client, name);
    if (this.#started && isSame(found, this.#prints)) return;
    const changed = await ensurePublication(client, name, tables, settings.publication.create);
    const prints = changed ? await readPublicationPrints(client, name) : found;
    const lost = log.fresh ? [] : tablesNotPublishedThroughout(tables, log.prints, prints);
    if (isSlotThere && lost.length > 0) {
      logger.warn(
        { tables: lost.map((table) => `${table.schema}.${table.name}`) },
        'the publication was changed by somebody: what these tables met meanwhile was not streamed; they are copied again',
      );
      await this.#settle(client, signal);
    }
    for (const table of lost) await recopy(table, 'its publication was changed');
    await appendControl(progress, { t: 'publication', prints: Object.fromEntries(prints) } satisfies PublicationRecord);
    this.#prints = prints;
  }

  /** A transaction that wrote a row before its table was published streams nothing of it: no chunk may be read before it has ended. */
  async #settle(client: pg.Client, signal: AbortSignal): Promise<void> {
    const xid = await nextTransaction(client);
    for (let told = false; !(await hasSettled(client, xid)); told = true) {
      if (!told) this.#options.logger.info({ waitsFor: await runningTransactions(client) }, 'waiting for running transactions to end');
      await delay(TICK_MS, undefined, { signal });
    }
  }

  async #writeEpoch(frame: EpochFrame): Promise<void> {
    const payload = encodeJsonFrame(FRAME.epoch, frame);
    const prefix = Buffer.allocUnsafe(4);
    prefix.writeUInt32BE(payload.length);
    await this.#options.raw.append(0, { count: 1, parts: [prefix, payload] });
  }

  /** Moves the slot and repeats the status; a throw ends the session. */
  async #tend(follower: Follower, stream: ReplicationStream, signal: AbortSignal): Promise<never> {
    let confirmedAt = 0;
    let statusAt = 0;
    for (;;) {
      await delay(TICK_MS, undefined, { signal });
      const now = performance.now();
      const moved = slotEnd(follower) - this.#confirmed;
      if (now - confirmedAt >= (moved >= CONFIRM_AT_ONCE_BYTES ? CONFIRM_EVERY_MS : CONFIRM_IDLE_MS)) {
        confirmedAt = now;
        if (await this.#confirm(follower, stream)) statusAt = now;
      }
      if (now - statusAt >= this.#statusEveryMs) {
        statusAt = now;
        stream.sendStatus(this.#confirmed);
      }
    }
  }

  async #confirm(follower: Follower, stream: ReplicationStream): Promise<boolean> {
    const { copy, progress } = this.#options;
    const end = slotEnd(follower);
    const record = { offset: follower.durableOffset, commitLsn: formatLsn(follower.durableCommit), endLsn: formatLsn(follower.durableEnd) };
    const ceiling = copy.slotCeiling();
    const confirm = ceiling === undefined ? end : minLsn(end, ceiling);
    if (confirm <= this.#confirmed) return false;
    await appendControl(progress, { t: 'durable', ...record, confirm: formatLsn(confirm) } satisfies DurableRecord);
    failpoint('slot.confirm');
    this.#confirmed = confirm;
    stream.sendStatus(confirm);
    return true;
  }

  /** Heartbeats and slot health. A failure here is the source's, and ends the session. */
  async #watch(signal: AbortSignal): Promise<never> {
    const { settings, name } = this.#options;
    let beatAt = performance.now();
    for (;;) {
      const client = await this.#session.client();
      const row = await queryRow(client, 'SELECT pg_catalog.pg_current_wal_lsn() AS lsn');
      this.#current = parseLsn(row?.['lsn'] ?? '0/0');
      this.#slot = await readSlot(client, name);
      await this.#enforceBudget(this.#slot);
      if (!isSame(await readPublicationPrints(client, name), this.#prints))
        throw new PipelineError('CF-2001', `publication ${name} was changed by somebody`);
      if (performance.now() - beatAt >= settings.heartbeatSeconds * 1000) {
        beatAt = performance.now();
        await this.#emit({ kind: 'heartbeat', name, id: String(Date.now()) });
      }
      await delay(HEALTH_EVERY_MS, undefined, { signal });
    }
  }

  async #enforceBudget(slot: SlotHealth | undefined): Promise<void> {
    const { settings, logger, name } = this.#options;
    const budget = settings.slot.budgetBytes;
    if (!slot || budget === undefined || slot.retainedBytes <= budget) return;
    logger.warn({ retainedBytes: slot.retainedBytes, budgetBytes: budget }, 'the slot holds more WAL on the source than its budget');
    if (settings.slot.onBudget !== 'drop') return;
    await this.#stream?.stop();
    await dropSlot(await this.#session.client(), name);
    throw new PipelineError(
      'CF-2004',
      `the slot held ${slot.retainedBytes} bytes of WAL, more than its budget of ${budget}: it was dropped to save the source, as the file says`,
    );
  }

  async #emit(message: OurMessage): Promise<void> {
    const client = await this.#session.client();
    await client.query('SELECT pg_catalog.pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, JSON.stringify(message)]);
  }
}

async function statusInterval(client: pg.Client): Promise<number> {
  const row = await queryRow(client, `SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'`);
  const timeoutMs = Number(row?.['setting'] ?? 0);
  return timeoutMs > 0 ? Math.min(STATUS_EVERY_MS, timeoutMs / 3) : STATUS_EVERY_MS;
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([relation, print]) => b.get(relation) === print);
}

/** Up to where the slot may move: never what was only received. */
function slotEnd(follower: Follower): Lsn {
  return guarded('early-ack') ? follower.durableEnd : follower.receivedEnd;
}

/** Connection trouble and a full disk pass by themselves; what an operator has to mend does not. */
function isRetried(error: PipelineError): boolean {
  return error.retry === 'timed' || error.code === 'CF-3001' || error.code === 'CF-2009';
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
