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
import { isShared, type SharedLog } from '#connectors/change-log/shared-log.ts';
import { streamName } from '#connectors/source/postgres/reader-lock.ts';
import { dropSlot, identifySystem, readSlot, type SlotHealth } from '#connectors/source/postgres/slot.ts';
import { startStream, type ReplicationStream, type StreamHandlers, type StreamOptions } from '#connectors/source/postgres/stream.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { RECONNECT, waitBackoff } from '#services/runtime/backoff.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import type { CopyHooks } from './copy/copy-port.ts';
import type { DurableRecord, EpochRecord } from './control-records.ts';
import { appendControl, Follower } from './follow.ts';
import type { HeldStream } from './held-stream.ts';
import type { Leaving } from './left-out.ts';
import { checkIdentity, checkSlot, recoverLog, type RecoveredLog } from './recover.ts';
import { SourcePreparation } from './source-preparation.ts';
import { SourceSession } from './source-session.ts';
import { takeOver } from './take-over.ts';

/** How often the slot is moved; each move costs one control record, and a start reads them all. */
const CONFIRM_EVERY_MS = 2_000;
/** A slot that would move less than this waits longer: an idle database's log must not grow by its own bookkeeping. */
const CONFIRM_AT_ONCE_BYTES = 1n << 16n;
const CONFIRM_IDLE_MS = 10_000;
/** Status is repeated this often at least, or every third of wal_sender_timeout where that is shorter. */
const STATUS_EVERY_MS = 3_000;
const TICK_MS = 250;
const HEALTH_EVERY_MS = 2_000;

export interface ReaderOptions extends Leaving {
  readonly name: string;
  readonly url: string;
  readonly raw: Topic;
  readonly progress: Topic;
  readonly tables: readonly CatalogTable[];
  readonly settings: PipelineSettings;
  /** Of a shared log it is opened only when nobody else can add to its records any more. */
  readonly copy: CopyHooks | (() => Promise<CopyHooks>);
  /** Highest LSN that the target shows; undefined before the change-over. For the check of a fail-over. */
  readonly appliedLsn: () => Lsn | undefined | Promise<Lsn | undefined>;
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

interface Streaming {
  readonly stream: ReplicationStream;
  readonly copy: CopyHooks;
}

interface Follow {
  /** A stream that was started before the log was read. */
  readonly held: HeldStream | undefined;
  readonly copy: CopyHooks;
  readonly failed: Promise<never>;
}

export class Reader implements Service {
  readonly id = 'reader';
  readonly #options: ReaderOptions;
  readonly #session: SourceSession;
  readonly #preparation: SourcePreparation;
  #copy: CopyHooks | undefined;
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
  #statusEveryMs = STATUS_EVERY_MS;
  /** The follower has more than it may hold. */
  #paused = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#session = new SourceSession(options.url, `crossfade ${options.name} reader`);
    this.#preparation = new SourcePreparation(options, this.#session);
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
    const { raw } = this.#options;
    this.#statusEveryMs = await statusInterval(await this.#session.client());
    const shared = isShared(raw) ? raw : undefined;
    let held: HeldStream | undefined;
    let log: RecoveredLog;
    if (shared === undefined) log = await this.#begin(signal);
    else ({ held, log } = await this.#takeOver(shared, signal));
    failpoint('start.epoch-written');
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => undefined);
    const copy = await this.#openCopy();
    copy.onStreamRestart();
    const follower = this.#follow(copy, log, failed.reject);
    this.#follower = follower;
    this.#confirmed = log.confirmed;
    try {
      await this.#followStream(follower, { held, copy, failed: failed.promise }, signal);
    } finally {
      await follower.close();
    }
  }

  /** The log is this process's alone: what it holds is known before the source is asked for anything. */
  async #begin(signal: AbortSignal): Promise<RecoveredLog> {
    const { name, url, raw, progress } = this.#options;
    const log = await recoverLog(raw, progress);
    failpoint('start.log-recovered');
    const identity = await identifySystem(url, log.identity?.timeline);
    await this.#checkIdentity(log, identity);
    failpoint('start.connected');
    const client = await this.#session.client();
    const slot = await readSlot(client, name);
    checkSlot(name, slot, log);
    await this.#preparation.publish(client);
    await this.#preparation.account(client, log, slot !== undefined, signal);
    const begun =
      slot && !log.fresh
        ? log
        : await this.#preparation.beginAt(log, slot?.confirmedFlush ?? (await this.#preparation.makeSlot(client, signal)), raw.end(0));
    const { systemId, timeline } = identity;
    this.#epoch = await appendControl(progress, { t: 'epoch', systemId, timeline } satisfies EpochRecord);
    await this.#writeEpoch({ epoch: this.#epoch, systemId, timeline });
    return begun;
  }

  /** Others may write the log until the slot is ours. */
  async #takeOver(raw: SharedLog, signal: AbortSignal): Promise<{ readonly held: HeldStream; readonly log: RecoveredLog }> {
    const { name, url, progress, logger } = this.#options;
    const taken = await takeOver(
      {
        name,
        url,
        raw,
        progress,
        logger,
        stream: this.#streamOptions(),
        client: await this.#session.client(),
        statusEveryMs: this.#statusEveryMs,
        preparation: this.#preparation,
        checkIdentity: async (log, identity) => this.#checkIdentity(log, identity),
        openCopy: async () => void (await this.#openCopy()),
      },
      signal,
    );
    try {
      this.#epoch = taken.epoch;
      await this.#writeEpoch({ epoch: taken.epoch, ...taken.identity });
      return taken;
    } catch (error) {
      await taken.held.stream.stop();
      throw error;
    }
  }

  async #openCopy(): Promise<CopyHooks> {
    const { copy } = this.#options;
    this.#copy ??= typeof copy === 'function' ? await copy() : copy;
    return this.#copy;
  }

  async #checkIdentity(log: RecoveredLog, identity: Awaited<ReturnType<typeof identifySystem>>): Promise<void> {
    const applied = identity.forkLsn === undefined ? undefined : await this.#options.appliedLsn();
    checkIdentity(log.identity, identity, maxLsn(log.durableEnd, applied ?? ZERO_LSN));
  }

  #streamOptions(): StreamOptions {
    const { name, url } = this.#options;
    return { url, slot: name, publication: name, applicationName: streamName(name) };
  }

  /** One stream, from its start to whatever ends it. */
  async #followStream(follower: Follower, { held, copy, failed }: Follow, signal: AbortSignal): Promise<void> {
    const options = this.#options;
    const handlers: StreamHandlers = {
      onMessage: (message) => follower.onMessage(message),
      onKeepalive: (end, replyRequested) => {
        follower.onKeepalive(end);
        if (replyRequested) this.#stream?.sendStatus(this.#confirmed);
      },
    };
    const stream = held?.stream ?? (await startStream(this.#streamOptions(), handlers));
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
      held?.release(handlers);
      if (held !== undefined && !this.#paused) stream.resume();
      await Promise.race([stream.done, failed, this.#tend(follower, { stream, copy }, ended), this.#watch(ended), aborted(signal)]);
      if (signal.aborted) await this.#confirm(follower, { stream, copy });
    } finally {
      stop.abort();
      this.#connected = false;
      this.#stream = undefined;
      await stream.stop();
    }
  }

  #follow(copy: CopyHooks, log: RecoveredLog, fail: (error: unknown) => void): Follower {
    this.#paused = false;
    return new Follower({
      name: this.#options.name,
      raw: this.#options.raw,
      progress: this.#options.progress,
      copy,
      ignoreOrigins: this.#options.ignoreOrigins,
      foreign: this.#options.foreign,
      whose: this.#options.whose,
      lastCommit: log.lastCommit,
      durableEnd: log.durableEnd,
      pause: () => {
        this.#paused = true;
        this.#stream?.pause();
      },
      resume: () => {
        this.#paused = false;
        this.#stream?.resume();
      },
      fail,
    });
  }

  async #writeEpoch(frame: EpochFrame): Promise<void> {
    const payload = encodeJsonFrame(FRAME.epoch, frame);
    const prefix = Buffer.allocUnsafe(4);
    prefix.writeUInt32BE(payload.length);
    await this.#options.raw.append(0, { count: 1, parts: [prefix, payload] });
  }

  /** Moves the slot and repeats the status; a throw ends the session. */
  async #tend(follower: Follower, streaming: Streaming, signal: AbortSignal): Promise<never> {
    let confirmedAt = 0;
    let statusAt = 0;
    for (;;) {
      await delay(TICK_MS, undefined, { signal });
      const now = performance.now();
      const moved = slotEnd(follower) - this.#confirmed;
      if (now - confirmedAt >= (moved >= CONFIRM_AT_ONCE_BYTES ? CONFIRM_EVERY_MS : CONFIRM_IDLE_MS)) {
        confirmedAt = now;
        if (await this.#confirm(follower, streaming)) statusAt = now;
      }
      if (now - statusAt >= this.#statusEveryMs) {
        statusAt = now;
        streaming.stream.sendStatus(this.#confirmed);
      }
    }
  }

  async #confirm(follower: Follower, { stream, copy }: Streaming): Promise<boolean> {
    const { progress } = this.#options;
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
      if (!(await this.#preparation.isAsPublished(client)))
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
