/**
 * Writes to two stores in six stages (dual-stages.ts). Guarantee: the store that answers is written first, and if it refuses nothing is written elsewhere;
 * if the second fails, the write has succeeded, its key is queued, and `retry` makes the second store agree: what was acknowledged is not taken back, unless
 * `newerWins` finds a newer row in the second. `settle` goes by the policy. Writes and settlements of
 * one key in this process come one after the other; those of other processes are met by `replacing`: a store that finds another row than that
 * says so, and the key is looked at again.
 *
 * Crossfade's fence has the last word: a first write that it refuses is made in the other store, whatever the stage said; a second one that it refuses
 * is left to the pipeline, which carries the first. From `live` on the target wins a settlement, whatever the policy says of conflicts before, but for
 * two rows of which `newerWins` finds the source's newer.
 */
import { canonicalValue } from '#schemas/flags/canonical-value.ts';
import { type DualStage, stageBehaviour } from '#schemas/flags/dual-stages.ts';
import type { Observation } from '#schemas/flags/observation.ts';
import type { Side } from '#schemas/flags/read-rules.ts';
import { isFenced } from './fenced.ts';
import { MemoryRetryQueue, type RetryQueue } from './retry-queue.ts';
import { type ShadowLimits, ShadowReads } from './shadow-read.ts';
import { writeWhere } from './write-where.ts';

/** One of the two, as the application reaches it. Each call is a transaction of its own. */
export interface DualStore<Row> {
  get(key: string): Promise<Row | undefined>;
  /** `replacing` is given by settlements, and by second writes and removals under `newerWins`: false when the row there is another one by now (undefined: when there is one). */
  put(key: string, row: Row, replacing?: { readonly row: Row | undefined }): Promise<boolean | void>;
  remove(key: string, replacing?: { readonly row: Row }): Promise<boolean | void>;
}

/** Which row stays where the two differ. A row that only one of them has: `newer-wins` keeps it, the others do as that store does. */
export type ConflictPolicy<Row> =
  | 'source-wins'
  | 'target-wins'
  | {
      /** Higher is newer; the source's stays where they are equal. */
      newerWins(row: Row): number | bigint | string | Date;
    };

export interface Conflict<Row> {
  readonly key: string;
  readonly source: Row | undefined;
  readonly target: Row | undefined;
  readonly winner: Side;
}

export interface DualWriterOptions<Row> {
  /** Asked at each call, so it may come from a flag. */
  readonly stage: () => DualStage;
  /** Makes `stage` say what holds now (`client.refresh`): asked before queued keys are settled, which wait while it rejects. */
  readonly refresh?: () => Promise<void>;
  /** How long a first write that met the fence may look for the store that serves; 5 s. */
  readonly waitMs?: number;
  readonly source: DualStore<Row>;
  readonly target: DualStore<Row>;
  readonly policy: ConflictPolicy<Row>;
  /** In memory and bounded when absent. */
  readonly queue?: RetryQueue;
  readonly onConflict?: (conflict: Conflict<Row>) => void;
  /** A second write failed; `queued` is false when the queue was full, and then only a comparison of both stores will find the key. */
  readonly onSecondFailed?: (key: string, error: unknown, queued: boolean) => void;
  readonly onObservation?: (observation: Observation) => void;
  readonly shadow?: Partial<ShadowLimits>;
}

export interface DualWriter<Row> {
  read(key: string): Promise<Row | undefined>;
  write(key: string, row: Row): Promise<void>;
  remove(key: string): Promise<void>;
  /** Makes both stores agree on a key, by the policy. */
  settle(key: string): Promise<'equal' | 'settled'>;
  /** Settles what is queued, each key once, as the store that was written first has it. @returns how many are left */
  retry(): Promise<number>;
  /** `carried`: second writes that the fence refused, and that the pipeline makes. */
  readonly counts: {
    readonly conflicts: number;
    readonly carried: number;
    readonly secondFailed: number;
    readonly lost: number;
    readonly waiting: number;
  };
}

/** Another process writes the key as fast as it is settled. */
const TRIES_MAX = 5;
const WAIT_MS = 5_000;
const SHADOW: ShadowLimits = { inFlight: 64, againMs: 200, againTimes: 2, timeoutMs: 5_000 };

export async function createDualWriter<Row>(options: DualWriterOptions<Row>): Promise<DualWriter<Row>> {
  return new StagedWriter(options, options.queue ?? (await MemoryRetryQueue.open()));
}

class StagedWriter<Row> implements DualWriter<Row> {
  readonly #options: DualWriterOptions<Row>;
  readonly #queue: RetryQueue;
  readonly #shadow: ShadowReads;
  readonly #turns = new Map<string, Promise<unknown>>();
  #conflicts = 0;
  #carried = 0;
  #secondFailed = 0;
  #lost = 0;

  constructor(options: DualWriterOptions<Row>, queue: RetryQueue) {
    this.#options = options;
    this.#queue = queue;
    this.#shadow = new ShadowReads({ ...SHADOW, ...options.shadow }, (observation) => options.onObservation?.(observation));
  }

  get counts(): DualWriter<Row>['counts'] {
    return {
      conflicts: this.#conflicts,
      carried: this.#carried,
      secondFailed: this.#secondFailed,
      lost: this.#lost,
      waiting: this.#queue.size,
    };
  }

  async read(key: string): Promise<Row | undefined> {
    const { answers, compares } = stageBehaviour(this.#options.stage());
    const pair = { source: async () => this.#options.source.get(key), target: async () => this.#options.target.get(key) };
    return this.#shadow.read(pair, { stage: compares ? 'shadow' : answers, serves: answers }, {});
  }

  async write(key: string, row: Row): Promise<void> {
    await this.#inTurn(key, async () =>
      this.#both(
        key,
        async (store) => store.put(key, row),
        async (store) => this.#putSecond(store, key, row),
      ),
    );
  }

  async remove(key: string): Promise<void> {
    await this.#inTurn(key, async () =>
      this.#both(
        key,
        async (store) => store.remove(key),
        async (store, first) => this.#removeSecond(store, first, key),
      ),
    );
  }

  async #both(key: string, write: WriteTo<Row>, writeSecond: WriteSecond<Row>): Promise<void> {
    const [first, second] = stageBehaviour(this.#options.stage()).writes;
    const decided = await this.#writeFirst(first, write);
    if (second === undefined) return;
    // The fence refused the first one; it is up as long as the pipeline goes that way.
    if (decided !== first) {
      this.#carried++;
      return;
    }
    try {
      await writeSecond(this.#options[second], this.#options[first]);
    } catch (error) {
      if (isFenced(error)) {
        this.#carried++;
        return;
      }
      this.#secondFailed++;
      const queued = await this.#queue.add(key).catch(() => false);
      if (!queued) this.#lost++;
      this.#options.onSecondFailed?.(key, error, queued);
    }
  }

  async #writeFirst(first: Side, write: WriteTo<Row>): Promise<Side> {
    const { waitMs = WAIT_MS, refresh } = this.#options;
    const at = (side: Side) => async (): Promise<Side> => {
      await write(this.#options[side]);
      return side;
    };
    return writeWhere(
      { source: at('source'), target: at('target') },
      { serves: () => first, refresh: async () => refresh?.(), waitMs, observed: () => undefined },
    );
  }

  /** Under `newerWins` a second write that comes late does not take a newer one back. */
  async #putSecond(store: DualStore<Row>, key: string, row: Row): Promise<void> {
    const { policy } = this.#options;
    if (typeof policy === 'string') {
      await store.put(key, row);
      return;
    }
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const there = await store.get(key);
      if (there !== undefined && policy.newerWins(there) > policy.newerWins(row)) return;
      if ((await store.put(key, row, { row: there })) !== false) return;
    }
    throw alwaysWritten(key);
  }

  /**
   * Under `newerWins` a second removal that comes late leaves a row that was written since: whoever writes puts it into the first store first, so that it
   * is seen there, if it is read after the one that is to go.
   */
  async #removeSecond(store: DualStore<Row>, first: DualStore<Row>, key: string): Promise<void> {
    if (typeof this.#options.policy === 'string') {
      await store.remove(key);
      return;
    }
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const there = await store.get(key);
      if (there === undefined || (await first.get(key)) !== undefined) return;
      if ((await store.remove(key, { row: there })) !== false) return;
    }
    throw alwaysWritten(key);
  }

  async settle(key: string): Promise<'equal' | 'settled'> {
    return this.#inTurn(key, async () => this.#agree(key));
  }

  /** `isOwn`: the first store acknowledged a write of this key here, and the second one lacks it. */
  async #agree(key: string, isOwn = false): Promise<'equal' | 'settled'> {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const { source, target } = await this.#readBoth(key);
      if (canonicalValue(source) === canonicalValue(target)) return tries === 0 ? 'equal' : 'settled';
      const winner = this.#winner(source, target, isOwn);
      if (tries === 0) {
        this.#conflicts++;
        this.#options.onConflict?.({ key, source, target, winner });
      }
      const [row, replaced] = winner === 'source' ? [source, target] : [target, source];
      const loser = this.#options[winner === 'source' ? 'target' : 'source'];
      if (await isReplaced(loser, key, { row, replaced })) return 'settled';
    }
    throw new Error(`the two stores could not be made to agree on ${JSON.stringify(key)}: it is written all the time`);
  }

  /** The store that decides last: what others have written to both since is then seen in it, and not taken for a row that has to go. */
  async #readBoth(key: string): Promise<{ readonly source: Row | undefined; readonly target: Row | undefined }> {
    const { source, target, stage } = this.#options;
    if (stageBehaviour(stage()).writes[0] === 'source') {
      const second = await target.get(key);
      return { source: await source.get(key), target: second };
    }
    const second = await source.get(key);
    return { source: second, target: await target.get(key) };
  }

  #winner(source: Row | undefined, target: Row | undefined, isOwn: boolean): Side {
    const { policy, stage } = this.#options;
    const [decides] = stageBehaviour(stage()).writes;
    const isByVersion = typeof policy !== 'string' && source !== undefined && target !== undefined;
    if (!isByVersion && (isOwn || decides === 'target')) return decides;
    return winnerOf(policy, source, target);
  }

  async retry(): Promise<number> {
    if (this.#queue.size === 0) return 0;
    try {
      await this.#options.refresh?.();
    } catch {
      return this.#queue.size;
    }
    for (let left = this.#queue.size; left > 0; left--) {
      const item = this.#queue.next();
      if (item === undefined) break;
      try {
        await this.#inTurn(item.key, async () => this.#agree(item.key, true));
        await this.#queue.done(item.key);
      } catch {
        this.#queue.failed(item.key);
      }
    }
    return this.#queue.size;
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#turns.get(key) ?? Promise.resolve()).then(work, work);
    const settled = mine.catch(() => undefined);
    this.#turns.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key);
    }
  }
}

type WriteTo<Row> = (store: DualStore<Row>) => Promise<unknown>;
type WriteSecond<Row> = (store: DualStore<Row>, first: DualStore<Row>) => Promise<unknown>;

function alwaysWritten(key: string): Error {
  return new Error(`the second store could not be written at ${JSON.stringify(key)}: others write it all the time`);
}

/** What a fence refuses the pipeline makes. */
async function isReplaced<Row>(
  store: DualStore<Row>,
  key: string,
  { row, replaced }: { readonly row: Row | undefined; readonly replaced: Row | undefined },
): Promise<boolean> {
  try {
    const done = row === undefined ? await store.remove(key, { row: replaced! }) : await store.put(key, row, { row: replaced });
    return done !== false;
  } catch (error) {
    if (isFenced(error)) return true;
    throw error;
  }
}

function winnerOf<Row>(policy: ConflictPolicy<Row>, source: Row | undefined, target: Row | undefined): Side {
  if (policy === 'source-wins') return 'source';
  if (policy === 'target-wins') return 'target';
  if (source === undefined) return 'target';
  if (target === undefined) return 'source';
  return policy.newerWins(target) > policy.newerWins(source) ? 'target' : 'source';
}
