/**
 * Redis behind the target port (docs/redis.md). Guarantee: at most one instance holds the target (a lock that expires), and the epoch is
 * raised before anything is read, so that whatever a predecessor still has on its way changes nothing any more.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { tableId, type CompiledMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import type { Bookmark } from '#schemas/bookmark.ts';
import type { Position, Target, TargetEvents, TargetSession, TargetStore } from '#connectors/target/target.ts';
import { loadScripts, ScriptCalls } from './calls.ts';
import { connectRedis, explainReply, isTransientReply, type RedisClient } from './connection.ts';
import { HeldLock } from './lock.ts';
import { ownKeys, type OwnKeys } from './names.ts';
import { ProgressState, readStoredProgress, writeProgress, type StoredProgress } from './progress.ts';
import { strangersTo } from './row-form.ts';
import { RAISE_EPOCH } from './scripts.ts';
import { RedisSession, type SessionOptions } from './session.ts';
import { raiseFences } from './slots.ts';
import { hasKeys } from './table-keys.ts';

export interface RedisStoreOptions {
  readonly address: RedisAddress;
  readonly mapping: CompiledMapping;
  /** Names this installation (host and data directory): a leftover of the same one is passed over, another is respected. */
  readonly instance: string;
  /** By `tableId`: source tables whose chunks the log has handed out before; a table that is new here has missed them. */
  readonly copied?: ReadonlySet<string>;
  /** By `tableId`: source tables that the file sends anywhere; absent: this target is the only one. */
  readonly published?: ReadonlySet<string>;
}

export function redisStore(options: RedisStoreOptions): TargetStore {
  return {
    isAtomic: false,
    deadLettersUrl: undefined,
    open: (events) => open(options, events),
    isTransient: isTransientReply,
    explain: explainReply,
  };
}

async function open(options: RedisStoreOptions, events: TargetEvents): Promise<Target> {
  await using stack = new AsyncDisposableStack();
  const { name } = options.mapping;
  const client = await connectRedis(options.address, `crossfade ${name} sink`);
  stack.defer(() => client.disconnect());
  const keys = ownKeys(name);
  await loadScripts(client);
  const lock = stack.use(await takeLock(client, keys, options));
  const stored = await raiseEpoch(client, keys, options);
  const target = new RedisTarget({ options, events, client, lock, stored, keys });
  await target.registerTables();
  stack.move();
  return target;
}

const LEFTOVER_WAIT_MS = 3_000;
const LOCK_POLL_MS = 100;

async function takeLock(client: RedisClient, keys: OwnKeys, { instance, mapping }: RedisStoreOptions): Promise<HeldLock> {
  const deadline = Date.now() + LEFTOVER_WAIT_MS;
  for (;;) {
    const lock = await HeldLock.take(client, keys.lock, { holder: randomUUID(), instance });
    if (lock !== undefined) return lock;
    if (Date.now() > deadline) throw new PipelineError('CF-7003', `another instance runs migration ${mapping.name} against this target`);
    await delay(LOCK_POLL_MS);
  }
}

async function raiseEpoch(client: RedisClient, keys: OwnKeys, { address, mapping, instance }: RedisStoreOptions): Promise<StoredProgress> {
  const generation = randomBytes(4).toString('hex');
  const epoch = await client.eval(RAISE_EPOCH, 1, keys.progress, generation, instance, mapping.hash, String(Date.now()));
  if (address.cluster) await raiseFences(client, mapping.name, String(epoch));
  const stored = await readStoredProgress(client, mapping.name, keys);
  invariant(stored !== undefined, 'the progress was just written');
  if (stored.progress.epoch !== BigInt(epoch as number))
    throw new PipelineError('CF-5005', `another sink has taken over migration ${mapping.name}`);
  return stored;
}

interface Parts {
  readonly options: RedisStoreOptions;
  readonly events: TargetEvents;
  readonly client: RedisClient;
  readonly lock: HeldLock;
  readonly stored: StoredProgress;
  readonly keys: OwnKeys;
}

class RedisTarget implements Target {
  readonly progress: Target['progress'];
  readonly blocked = { size: 0 };
  readonly ordered = false;
  readonly #parts: Parts;
  readonly #state: ProgressState;
  readonly #calls: ScriptCalls;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.progress = parts.stored.progress;
    this.#state = new ProgressState(parts.keys, parts.stored);
    this.#calls = new ScriptCalls(parts.client);
  }

  get tables(): Target['tables'] {
    return this.#state.tables;
  }

  /**
   * Tables that have no progress yet: there must be no rows of theirs, unless the file says what to do with them.
   * @throws PipelineError CF-5004 naming every filled table.
   */
  async registerTables(): Promise<void> {
    const { client, options, stored } = this.#parts;
    this.#checkForms();
    const known = new Set(stored.tables.map(({ from }) => tableId(from)));
    const fresh = options.mapping.tables.filter(({ from }) => !known.has(tableId(from)));
    const filled: string[] = [];
    for (const { existing, redis, to } of fresh) {
      if (existing === 'refuse' && (await hasKeys(client, redis!))) filled.push(`${to.schema}.${to.name} (${redis!.key.text})`);
    }
    if (filled.length > 0) throw new PipelineError('CF-5004', `Redis already holds keys of ${filled.join(', ')}`);
    for (const table of fresh) if (table.existing === 'truncate') await this.#session({}).sweep(table, ABOVE_ALL);
    for (const table of fresh) {
      this.#state.add(table);
      if (options.copied?.has(tableId(table.from)) === true) Object.assign(this.#state.table(table), { state: 'copying', heldOffset: 0 });
    }
    for (const table of options.mapping.tables) this.#state.keepForm(table);
    const kept = new Set(options.mapping.tables.map(({ from }) => tableId(from)));
    const isGone = (id: string): boolean => !kept.has(id) && options.published?.has(id) === true;
    for (const table of stored.tables) if (isGone(tableId(table.from))) this.#state.remove(table);
    await this.#write({});
  }

  /** @throws PipelineError CF-5006 when rows stand there under another key, or as something else, than the file says. */
  #checkForms(): void {
    const { options, stored } = this.#parts;
    for (const table of options.mapping.tables) {
      const form = stored.forms.get(tableId(table.from));
      const strange = form === undefined ? [] : strangersTo(table, form);
      if (strange.length === 0) continue;
      throw new PipelineError('CF-5006', `rows of ${table.to.schema}.${table.to.name} stand in Redis ${strange.join('; ')}`, {
        remedy:
          'Write form, key, sets, ttl, columns, set and where as they were (a column that is new at the source: drop: [NAME]); or begin anew: stop, drop the slot, remove the data directory, the keys of the tables and those under crossfade:{NAME}.',
      });
    }
  }

  async #write(fields: Readonly<Record<string, string>>, markers: readonly string[] = []): Promise<void> {
    await writeProgress(this.#calls, this.#state, { epoch: String(this.progress.epoch), expected: '', fields, markers });
  }

  #session(own: Partial<SessionOptions>): RedisSession {
    const { client, options, events, stored } = this.#parts;
    return new RedisSession({
      name: options.mapping.name,
      client,
      calls: this.#calls,
      isCluster: options.address.cluster,
      state: this.#state,
      generation: stored.generation,
      epoch: this.progress.epoch,
      onMissing: events.onMissing,
      ...own,
    });
  }

  async readMarkers(): Promise<readonly string[]> {
    return this.#parts.client.zrange(this.#parts.keys.markers, '0', '-1');
  }

  async readBookmark(): Promise<Bookmark | undefined> {
    const { offset, place } = await this.#parts.client.hgetall(this.#parts.keys.bookmark);
    return offset === undefined || place === undefined ? undefined : { offset: Number(offset), place };
  }

  /** One sink writes, in order. Redis may lose it in a crash, so nothing is removed on the strength of it. */
  async writeBookmark({ offset, place }: Bookmark): Promise<boolean> {
    await this.#parts.client.hset(this.#parts.keys.bookmark, 'offset', String(offset), 'place', place);
    return false;
  }

  consistent({ epoch, logOffset }: Parameters<Target['consistent']>[0]): TargetSession {
    return this.#session({ epoch, logOffset });
  }

  async lane(tables: readonly TableMapping[]): Promise<TargetSession> {
    const { address, mapping } = this.#parts.options;
    const client = await connectRedis(address, `crossfade ${mapping.name} lane`);
    return this.#session({ client, calls: new ScriptCalls(client), tables });
  }

  /** The lanes are drained: what they sent is applied, and nothing else is on its way under this epoch. */
  async changeOver({ offset, lsn, commitTimeMs }: Position, { markers, source }: Parameters<Target['changeOver']>[1]): Promise<bigint> {
    failpoint('changeover');
    const fields = {
      mode: 'consistent',
      appliedLsn: formatLsn(lsn),
      logOffset: String(offset),
      commitTimeMs: String(commitTimeMs),
      ...(source !== undefined && { systemId: source.systemId, timeline: String(source.timeline) }),
    };
    await this.#write(fields, markers);
    return this.progress.epoch;
  }

  /** One call writes the position and the tables' states. */
  async join({ offset, lsn, commitTimeMs }: Position): Promise<void> {
    for (const table of this.#parts.options.mapping.tables) Object.assign(this.#state.table(table), { state: 'copying', heldOffset: 0 });
    failpoint('target.join');
    await this.#write({
      mode: 'consistent',
      appliedLsn: formatLsn(lsn),
      logOffset: String(offset),
      commitTimeMs: String(commitTimeMs),
    });
  }

  async emptyHeldTable(table: TableMapping): Promise<void> {
    const row = this.#state.table(table);
    await this.#session({}).sweep(table, ABOVE_ALL);
    Object.assign(row, { state: 'copying', error: undefined, heldKey: undefined, rowsCopied: 0, heldOffset: row.heldOffset ?? 0 });
    await this.#write({});
  }

  async resumed(table: TableMapping): Promise<void> {
    const row = this.#state.table(table);
    if (row.state === 'held') return;
    Object.assign(row, { heldOffset: undefined, heldLsn: undefined });
    await this.#write({});
  }

  async close(): Promise<void> {
    await this.#parts.lock[Symbol.asyncDispose]();
    this.#parts.client.disconnect();
  }
}

/** Greater than the text of any place. */
const ABOVE_ALL = 'g';
