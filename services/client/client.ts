/**
 * `crossfade/client`: how an application follows a migration. Guarantee: asking costs no round trip (the rules are here, and evaluated here); what is
 * known is never replaced by something older; while nothing was ever heard, reads go to the source; and where a write goes is in the end said by the
 * database, whose fence a stale client meets (write-where.ts), never by what this client remembers.
 *
 * Nothing here but types and pure rules is shared with the rest of Crossfade. Node 20 and later.
 */
import { waveName } from '#schemas/config/wave-name.ts';
import { compareAge, type FlagDocument, saysOther } from '#schemas/flags/flag-document.ts';
import type { DualStage } from '#schemas/flags/dual-stages.ts';
import { decideRead, type EvaluationContext, stageOf, waveOf } from '#schemas/flags/evaluate.ts';
import type { ReadStage, Side } from '#schemas/flags/read-rules.ts';
import { type DocumentSource, httpSource, redisSource } from './document-source.ts';
import { Reporter } from './reporter.ts';
import { type ReadPair, errorName, type ShadowLimits, ShadowReads } from './shadow-read.ts';
import { type WritePair, writeWhere } from './write-where.ts';

export type { FlagDocument } from '#schemas/flags/flag-document.ts';
export type { ReadRules, ReadStage, RuleSet, Side } from '#schemas/flags/read-rules.ts';
export { canonicalValue } from '#schemas/flags/canonical-value.ts';
export {
  type ConflictPolicy,
  type Conflict,
  createDualWriter,
  type DualStore,
  type DualWriter,
  type DualWriterOptions,
} from './dual-write.ts';
export { isFenced } from './fenced.ts';
export { MemoryRetryQueue, type RetryItem, type RetryQueue } from './retry-queue.ts';
export { DUAL_STAGES, type DualStage, stageBehaviour } from '#schemas/flags/dual-stages.ts';
export type { ReadPair } from './shadow-read.ts';
export type { WritePair } from './write-where.ts';

export interface ClientOptions {
  /** Of the migration, as its file has it. */
  readonly name: string;
  /** Of `crossfade up` or `crossfade control`. With it, reads and writes are reported there. */
  readonly url?: string;
  /** CROSSFADE_FLAGS_TOKEN of the instance, or its token. */
  readonly token?: string;
  /** The Redis that the migration file names under `flags`; in place of `url` or beside it, whichever is newer counts. */
  readonly redis?: string;
  /** How often is looked, beside what is pushed; 250 ms. */
  readonly pollMs?: number;
  /** What was known before this process began (see onChange): it holds until something newer is heard. */
  readonly initial?: FlagDocument;
  readonly onChange?: (document: FlagDocument) => void;
  /** Of looking and reporting; never of a read or write. */
  readonly onError?: (error: unknown) => void;
  readonly shadow?: Partial<ShadowLimits>;
}

export interface Unit {
  /** The tenant or user that sticks to a store. */
  readonly unit?: string;
  /** Where units are users: their tenant, which rules may name. */
  readonly tenant?: string;
  /** `schema.table` of the source, for rules of one table. */
  readonly table?: string;
}

export interface ReadCall<T> extends ReadPair<T>, Unit {}

export interface WriteCall<T> extends WritePair<T>, Unit {
  /** How long a write that met the fence may look for the store that serves; 5 s. */
  readonly waitMs?: number;
}

export interface CrossfadeClient {
  /** Undefined: nothing was heard yet. */
  readonly document: FlagDocument | undefined;
  /** Resolves with the first document; false after `timeoutMs` without one. */
  ready(timeoutMs?: number): Promise<boolean>;
  readFrom(unit?: Unit): ReadStage;
  /** For looking at only: write with `write`. The unit is needed where the migration moves in waves. */
  writeTo(unit?: Unit): Side;
  /** Of dual writes, for `createDualWriter`. Before any was heard, and where there are none: the one in which the store that serves is all there is. */
  stage(): DualStage;
  read<T>(call: ReadCall<T>): Promise<T>;
  /** Each function is one whole transaction: it is run again elsewhere when the fence refused it, which has then rolled it back. */
  write<T>(call: WriteCall<T>): Promise<T>;
  /** Looks at once. Rejects while nobody answers. */
  refresh(): Promise<void>;
  /** What was left out or could not be sent. */
  readonly dropped: { readonly observations: number; readonly shadowReads: number };
  /** Sends what was observed, then ends. */
  close(): Promise<void>;
}

const POLL_MS = 250;
const READY_MS = 5_000;
const WAIT_MS = 5_000;
const SHADOW: ShadowLimits = { inFlight: 64, againMs: 500, againTimes: 2, timeoutMs: 5_000 };

/** @throws TypeError without `url` and `redis` */
export function createCrossfadeClient(options: ClientOptions): CrossfadeClient {
  if (options.url === undefined && options.redis === undefined) throw new TypeError('createCrossfadeClient needs url or redis');
  return new FollowingClient(options);
}

class FollowingClient implements CrossfadeClient {
  readonly #options: ClientOptions;
  readonly #sources: readonly DocumentSource[];
  readonly #reporter: Reporter;
  readonly #shadow: ShadowReads;
  readonly #waiting = new Set<() => void>();
  #document: FlagDocument | undefined;
  /** By wave: where a fence sent us, until something newer is heard. Only spares the detour. */
  readonly #learnt = new Map<string, Side>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#document = options.initial;
    const onError = options.onError ?? ((): void => undefined);
    const address = options.url === undefined ? undefined : { url: options.url.replace(/\/+$/, ''), token: options.token ?? '' };
    const common = {
      name: options.name,
      pollMs: options.pollMs ?? POLL_MS,
      onDocument: (document: FlagDocument) => this.#take(document),
      onError,
    };
    this.#sources = [
      ...(address === undefined ? [] : [httpSource(address, common)]),
      ...(options.redis === undefined ? [] : [redisSource(options.redis, common)]),
    ];
    this.#reporter = new Reporter(address, onError);
    this.#shadow = new ShadowReads({ ...SHADOW, ...options.shadow }, (observation) => this.#reporter.add(observation));
  }

  get document(): FlagDocument | undefined {
    return this.#document;
  }

  get dropped(): CrossfadeClient['dropped'] {
    return { observations: this.#reporter.dropped, shadowReads: this.#shadow.skipped };
  }

  async ready(timeoutMs = READY_MS): Promise<boolean> {
    if (this.#document !== undefined) return true;
    return new Promise((resolve) => {
      const heard = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(heard);
        resolve(this.#document !== undefined);
      };
      const timer = setTimeout(heard, timeoutMs);
      this.#waiting.add(heard);
    });
  }

  readFrom(unit: Unit = {}): ReadStage {
    return this.#document === undefined ? 'source' : decideRead(this.#document, contextOf(unit)).stage;
  }

  writeTo(unit: Unit = {}): Side {
    if (this.#document === undefined) return 'source';
    return waveOf(this.#document, contextOf(unit))?.serves ?? this.#document.serves;
  }

  stage(): DualStage {
    const dual = this.#document === undefined ? undefined : stageOf(this.#document);
    return dual ?? (this.writeTo() === 'source' ? 'off' : 'complete');
  }

  async read<T>(call: ReadCall<T>): Promise<T> {
    return this.#shadow.read(call, { stage: this.readFrom(call), serves: this.writeTo(call) }, reported(call));
  }

  async write<T>(call: WriteCall<T>): Promise<T> {
    const wave = this.#document === undefined ? undefined : waveOf(this.#document, contextOf(call));
    const learnt = wave?.name ?? '';
    // Of a call without a unit nothing is learnt of the next one's.
    const learns = wave !== undefined || this.#document?.waves === undefined;
    return writeWhere(call, {
      serves: () => this.#learnt.get(learnt) ?? this.writeTo(call),
      refresh: async () => this.refresh(),
      migration: () => this.#migrationOf(call),
      waitMs: call.waitMs ?? WAIT_MS,
      observed: (side, ms, error) => {
        if (error === undefined && side === this.writeTo(call)) this.#learnt.delete(learnt);
        else if (error === undefined && learns) this.#learnt.set(learnt, side);
        this.#reporter.add({
          op: 'write',
          stage: side,
          ...reported(call),
          [side]: { ms, ...(error !== undefined && { error: errorName(error) }) },
        });
      },
    });
  }

  /** Of its own wave, or the whole: of a unit that is in no wave nothing ever moves. */
  #migrationOf(call: Unit): string {
    const wave = this.#document === undefined ? undefined : waveOf(this.#document, contextOf(call));
    return wave === undefined ? this.#options.name : waveName(this.#options.name, wave.name);
  }

  async refresh(): Promise<void> {
    await Promise.any(this.#sources.map(async (source) => source.refresh()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#sources.map(async (source) => source.close()));
    await this.#reporter.flush();
  }

  #take(document: FlagDocument): void {
    const before = this.#document;
    if (before !== undefined && compareAge(document, before) <= 0) return;
    this.#document = document;
    this.#learnt.clear();
    for (const heard of this.#waiting) heard();
    if (before === undefined || saysOther(before, document)) this.#options.onChange?.(document);
  }
}

function contextOf({ unit, tenant, table }: Unit): EvaluationContext {
  return {
    ...(unit !== undefined && { targetingKey: unit }),
    ...(tenant !== undefined && { tenant }),
    ...(table !== undefined && { table }),
  };
}

function reported({ unit, tenant, table }: Unit): { readonly unit?: string; readonly table?: string } {
  const who = tenant ?? unit;
  return { ...(who !== undefined && { unit: who.slice(0, 200) }), ...(table !== undefined && { table }) };
}
