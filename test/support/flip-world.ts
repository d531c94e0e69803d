/**
 * Two databases, their pipelines and their writers in memory, for the real flip engine. Guarantee: every call of a port takes effect at one moment that the seed
 * chooses, and may fail before or after that; an engine can be killed or stopped at any call; and after every moment the world is looked at:
 * once somebody has decided, no side but the serving one takes writes.
 */
import { PipelineError } from '#schemas/errors.ts';
import { type Entry, type Journals, whoServes } from '#schemas/migration/recovery.ts';
import { BEGINNING, otherSide, type Side, type Standing, step } from '#schemas/migration/transitions.ts';
import type { FlipPorts, Marker, OpenFence, Tenure } from '#services/control/flip/ports.ts';
import {
  actAfter,
  type AuditEntry,
  type EngineHandle,
  gatesUnder,
  type Held,
  LIMITS,
  type Pending,
  type Timer,
  verdictUnder,
  type WorldFaults,
} from './flip-engines.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { seeded, type Random } from './random.ts';

const SIDES = ['source', 'target'] as const;

export class FlipWorld {
  readonly journal: Record<Side, Map<bigint, Omit<Entry, 'epoch'>>> = { source: new Map(), target: new Map() };
  readonly fenced: Record<Side, boolean> = { source: false, target: false };
  readonly held: Partial<Record<Side, Held>> = {};
  readonly audit: AuditEntry[] = [];
  /** It has lost its fence, and nobody has found out yet. */
  away: Side | undefined;
  /** What an asynchronous fail-over of the side that has decided last goes back to. */
  #before: { readonly side: Side; readonly epoch: bigint; readonly row: Tenure['row']; readonly audited: number } | undefined;
  /** What must never be, and was. */
  readonly violations: string[] = [];
  row: Tenure['row'] = { ...BEGINNING, act: undefined };
  lease: { owner: EngineHandle; tenure: object; expires: number } | undefined;
  faults: WorldFaults = {};
  timeMs = 0;
  isReverseWanted = false;
  /** Acknowledged writes by number, and which side has which. */
  readonly has: Record<Side, Set<number>> = { source: new Set(), target: new Set() };
  /** What each side's applications wrote, in order, and how much of it was brought over. */
  readonly written: Record<Side, number[]> = { source: [], target: [] };
  readonly brought: Record<Side, number> = { source: 0, target: 0 };
  readonly marks = new Map<string, number>();
  readonly random: Random;
  #writes = 0;
  #idleTurns = 0;
  #pending: Pending[] = [];
  #timers: Timer[] = [];

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  journals(): Journals {
    const rows = (side: Side): Journals[Side] => [...this.journal[side]].map(([epoch, row]) => ({ epoch, ...row }));
    return { source: rows('source'), target: rows('target') };
  }

  /** As both journals say. */
  serving(): Side {
    return whoServes(this.journals());
  }

  takesWrites(side: Side): boolean {
    return !this.fenced[side] && this.held[side] === undefined;
  }

  isDecided(epoch: bigint): boolean {
    return SIDES.some((side) => this.journal[side].get(epoch)?.isVoid === false);
  }

  /** Runs until all these have ended, whatever else is pending. */
  async run<T>(work: readonly Promise<T>[]): Promise<PromiseSettledResult<T>[]> {
    let isOver = false;
    const all = Promise.allSettled(work).then((results) => {
      isOver = true;
      return results;
    });
    for (let turn = 0; ; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (isOver) return all;
      if (turn > 50_000) throw new Error('the world does not come to rest');
      if (!this.#turn()) return [];
    }
  }

  kill(engine: EngineHandle): void {
    engine.isDead = true;
    for (const side of SIDES) if (this.held[side]?.owner === engine) this.#release(side, 'killed');
    // Its session is gone: whoever comes next may take the lease at once, or has to wait for the expiry.
    if (this.lease?.owner === engine && this.random.chance(0.5)) this.lease = undefined;
  }

  /** A standby takes its place that has not got the last decision yet; of the target, nor what the state has become since. */
  failOver(): void {
    const { side, epoch, row, audited } = this.#before!;
    this.away = side;
    this.fenced[side] = false;
    this.journal[side].delete(epoch);
    this.#release(side, 'failed over');
    if (side === 'source') return;
    [this.row, this.lease] = [row, undefined];
    this.audit.length = audited;
  }

  #turn(): boolean {
    this.#pending = this.#pending.filter(({ owner }) => !owner.isDead);
    this.#timers = this.#timers.filter(({ owner }) => !owner.isDead);
    this.#live();
    const ready = this.#pending.filter(({ owner, isReady }) => !owner.isStopped && isReady());
    const next = ready.length === 0 ? undefined : ready[this.random.between(0, ready.length - 1)];
    if (next !== undefined) {
      this.timeMs += this.random.between(0, 40);
      this.#pending.splice(this.#pending.indexOf(next), 1);
      next.execute();
      this.#check();
    }
    this.#expire();
    const timers = this.#timers.filter(({ owner }) => !owner.isStopped).toSorted((a, b) => a.at - b.at);
    // While a pipeline is at work or a lock is waited for, time goes on in small steps.
    const isWaiting = next === undefined && this.#isWaiting();
    if (isWaiting) this.timeMs += LIMITS.stepMs;
    const due = timers.find(({ at }) => at <= this.timeMs) ?? (next === undefined && !isWaiting ? timers[0] : undefined);
    if (due !== undefined) {
      this.timeMs = Math.max(this.timeMs, due.at);
      this.#timers.splice(this.#timers.indexOf(due), 1);
      due.fire();
    }
    this.#idleTurns = isWaiting && due === undefined ? this.#idleTurns + 1 : 0;
    return next !== undefined || due !== undefined || (isWaiting && this.#idleTurns < LIMITS.idleTurns);
  }

  /** The server ends a session that holds a fence and says nothing. */
  #expire(): void {
    for (const side of SIDES) if ((this.held[side]?.until ?? Infinity) < this.timeMs) this.#release(side, 'idle for too long');
  }

  /** Time passes, and nobody does anything. */
  pass(ms: number): void {
    this.timeMs += ms;
    this.#expire();
  }

  /** Applications write where they can, and the pipelines bring it over. */
  #live(): void {
    for (const side of SIDES) {
      // An application follows the flags, and these the state row; it tries the other side when it is bounced.
      const isAsked = this.row.serves === side || (this.fenced[otherSide(side)] && this.serving() === side);
      if (isAsked && this.takesWrites(side) && this.random.chance(0.5)) {
        this.#writes++;
        this.has[side].add(this.#writes);
        this.written[side].push(this.#writes);
      }
      if (this.faults.stuckPipe !== true && this.random.chance(0.7)) this.#bring(side);
    }
  }

  #isWaiting(): boolean {
    return this.#pending.some(({ owner, isReady }) => !owner.isStopped && !owner.isDead && !isReady());
  }

  #bring(from: Side): void {
    const next = this.written[from][this.brought[from]];
    if (next === undefined) return;
    this.has[otherSide(from)].add(next);
    this.brought[from]++;
  }

  #check(): void {
    const isFlipped = SIDES.some((side) => [...this.journal[side].values()].some(({ isVoid }) => !isVoid));
    const idle = otherSide(this.serving());
    if (this.away !== undefined && this.fenced[this.away]) this.away = undefined;
    if (isFlipped && !this.fenced[idle] && this.away !== idle) this.violations.push(`${idle} takes writes though ${this.serving()} serves`);
  }

  #release(side: Side, why: string): void {
    const held = this.held[side];
    delete this.held[side];
    held?.lost.resolve(new Error(why));
  }

  engine(name: string): EngineHandle {
    const handle = { name, isDead: false, isStopped: false, calls: 0 } as EngineHandle;
    return Object.assign(handle, { ports: this.#ports(handle) });
  }

  /** One call of a port. */
  async #call<T>(owner: EngineHandle, what: string, effect: () => T, isReady: () => boolean = () => true): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const execute = (): void => {
      const number = owner.calls++;
      owner.onCall?.(number, 0, what);
      if (owner.isDead) return;
      const failing = this.faults.failing ?? 0;
      if (this.random.chance(failing / 2)) return reject(new PipelineError('CF-5001', `${what} failed`));
      let result: T;
      try {
        result = effect();
      } catch (error) {
        return reject(error);
      }
      owner.onCall?.(number, 1, what);
      if (this.random.chance(failing / 2)) return reject(new PipelineError('CF-5001', `the answer of ${what} was lost`));
      resolve(result);
    };
    this.#pending.push({ owner, isReady, execute });
    return promise;
  }

  #ports(owner: EngineHandle): FlipPorts {
    return {
      clock: {
        now: () => this.timeMs,
        time: () => new Date(this.timeMs).toISOString(),
        random: () => this.random.next(),
        delay: async (ms, signal) => {
          const { promise, resolve, reject } = Promise.withResolvers<void>();
          const timer: Timer = { owner, at: this.timeMs + ms, fire: resolve };
          this.#timers.push(timer);
          const stop = (): void => {
            this.#timers = this.#timers.filter((one) => one !== timer);
            reject(signal.reason as Error);
          };
          if (signal.aborted) stop();
          else signal.addEventListener('abort', stop, { once: true });
          return promise;
        },
      },
      state: {
        lease: async () => this.#call(owner, 'lease', () => this.#tenure(owner)),
        journals: async () => this.#call(owner, 'journals', () => this.journals()),
      },
      fences: { source: this.#fence(owner, 'source'), target: this.#fence(owner, 'target') },
      pipe: {
        mark: async (from) =>
          this.#call(owner, 'mark', (): Marker => {
            const id = `m${this.marks.size}`;
            this.marks.set(id, this.written[from].length);
            return { id, lsn: '0/0' };
          }),
        applied: async (from, { id }) =>
          this.#call(
            owner,
            'applied',
            () => undefined,
            () => this.brought[from] >= this.marks.get(id)!,
          ),
      },
      compare: {
        begin: async () =>
          this.#call(owner, 'compare.begin', () => ({
            before: { clean: true, differs: false, summary: 'equal', report: {} },
            refresh: async () => this.#call(owner, 'compare.refresh', () => ({ keys: 3, predictedMs: 10 })),
            finish: async () => this.#call(owner, 'compare.finish', () => verdictUnder(this.faults)),
            close: async () => this.#call(owner, 'compare.close', () => undefined),
          })),
      },
      reverse: {
        want: async () => this.#call(owner, 'reverse', () => !this.isReverseWanted && (this.isReverseWanted = true)),
        unwant: async () => this.#call(owner, 'unwant', () => void (this.isReverseWanted = false)),
      },
      gates: {
        check: async () => this.#call(owner, 'gates.begin', () => gatesUnder(this.faults, 'begin')),
        again: async () => this.#call(owner, 'gates.again', () => gatesUnder(this.faults, 'again')),
        atFence: async () => this.#call(owner, 'gates.fence', () => gatesUnder(this.faults, 'fence')),
      },
      flags: { announce: async () => this.#call(owner, 'flags', () => undefined) },
      hooks: {
        before: async () =>
          this.#call(owner, 'hooks.before', () => (this.faults.veto === true ? [{ hook: 'no', ok: false, ms: 1, said: 'no' }] : [])),
        after: async () => this.#call(owner, 'hooks.after', () => []),
      },
    };
  }

  #tenure(owner: EngineHandle): Tenure {
    const { lease } = this;
    if (lease !== undefined && lease.expires > this.timeMs) throw new PipelineError('CF-8001', `${lease.owner.name} acts`);
    const token = {};
    this.lease = { owner, tenure: token, expires: this.timeMs + LIMITS.leaseMs };
    const lost = new AbortController();
    const lose = (): never => {
      const error = new PipelineError('CF-8003', 'the lease is lost');
      lost.abort(error);
      throw error;
    };
    const tenure = {
      row: this.row,
      lost: lost.signal,
      apply: async (event: Parameters<Tenure['apply']>[0], { step: at, epochSeen, actor }: Parameters<Tenure['apply']>[1]) => {
        try {
          return await this.#call(owner, event, () => {
            if (this.lease?.tenure !== token) return lose();
            this.lease.expires = this.timeMs + LIMITS.leaseMs;
            const result = step(this.row, event, epochSeen);
            if (!result.ok) throw new PipelineError('CF-8002', `${event} is refused: ${result.refusal}`);
            this.#note(event, result.next);
            tenure.row = this.row = { ...result.next, act: actAfter(this.row.act, result.next, { actor, at }) };
            return this.row;
          });
        } catch (error) {
          // Without an answer the session is gone, and the lease with it.
          return error instanceof PipelineError && error.code === 'CF-8002' ? Promise.reject(error) : lose();
        }
      },
      note: async () => this.#call(owner, 'note', () => (this.lease?.tenure === token ? undefined : lose())),
      confirm: async () => this.#call(owner, 'confirm', () => (this.lease?.tenure === token ? undefined : lose())),
      release: async () =>
        this.#call(owner, 'release', () => {
          if (this.lease?.tenure === token) this.lease = undefined;
        }).catch(() => undefined),
    };
    return tenure;
  }

  #note(event: Parameters<Tenure['apply']>[0], next: Standing): void {
    if (event.endsWith('-begun')) this.audit.push({ event: 'begun', epoch: next.epoch });
    if (event !== 'finished' && event !== 'backed-out') return;
    if (event === 'backed-out') this.away = undefined;
    const isFlip = event === 'finished';
    if (isFlip !== this.isDecided(next.epoch)) this.violations.push(`act ${next.epoch}: ${event}`);
    this.audit.push({ event: isFlip ? 'flipped' : 'backed-out', epoch: next.epoch });
  }

  #fence(owner: EngineHandle, side: Side): FlipPorts['fences'][Side] {
    const isFree = (): boolean => this.held[side] === undefined;
    return {
      prepare: async () =>
        this.#call(owner, `prepare.${side}`, () => {
          if (this.faults.foreignTables === true) throw new PipelineError('CF-8102', 'not the owner');
        }),
      open: async (epoch) => {
        const asked = this.timeMs;
        const isReady = (): boolean => this.faults.silentLock !== true && (isFree() || this.timeMs > asked + 1_000);
        return this.#call(owner, `open.${side}`, () => this.#open(owner, side, epoch), isReady);
      },
      state: async () =>
        this.#call(owner, `state.${side}`, () => (!this.fenced[side] ? 'down' : this.faults.hole === side ? 'partly' : 'up')),
      lift: async (epoch) => {
        const effect = (): void => {
          const isOvertaken = [...this.journal[side]].some(([later, { isVoid }]) => later > epoch && !isVoid);
          if (isOvertaken || this.journal[side].get(epoch)?.isVoid === true) return;
          if (!this.journal[side].has(epoch) && guarded('lift-echo'))
            this.journal[side].set(epoch, { serves: side, isVoid: false, isEcho: true });
          this.fenced[side] = false;
        };
        return this.#call(owner, `lift.${side}`, effect, isFree);
      },
      settle: async (epoch) =>
        this.#call(owner, `settle.${side}`, () => {
          if (this.held[side]?.epoch === epoch) this.#release(side, 'ended by settle');
          if (!this.journal[side].has(epoch)) this.journal[side].set(epoch, { serves: side, isVoid: true });
          return this.journal[side].get(epoch)!.isVoid ? 'void' : 'decided';
        }),
      setSequences: async () => this.#call(owner, `sequences.${side}`, () => []),
    };
  }

  #open(owner: EngineHandle, side: Side, epoch: bigint): OpenFence {
    if (this.held[side] !== undefined) throw new PipelineError('CF-2001', 'lock time-out');
    if (this.journal[side].has(epoch)) throw new PipelineError('CF-8307', 'the epoch is settled');
    const held: Held = { epoch, owner, lost: Promise.withResolvers(), until: this.timeMs + LIMITS.holdMs };
    this.held[side] = held;
    const own = (): void => {
      if (this.held[side] !== held) throw new PipelineError('CF-5001', 'the session is gone');
    };
    return {
      lockWaitMs: 0,
      blockedMs: 0,
      lost: held.lost.promise,
      sequences: async () => this.#call(owner, 'sequences', own),
      commit: async () =>
        this.#call(owner, 'commit', () => {
          own();
          const to = otherSide(side);
          const missing = this.written[side].filter((write) => !this.has[to].has(write));
          if (missing.length > 0 && this.away === undefined)
            this.violations.push(`${missing.length} acknowledged writes of the ${side} are not on the ${to}`);
          if (this.faults.drift === true) this.violations.push('decided with drift');
          this.#before = { side, epoch, row: this.row, audited: this.audit.length };
          this.journal[side].set(epoch, { serves: to, isVoid: false });
          this.fenced[side] = true;
          if (this.faults.hole === side) this.faults = {};
          delete this.held[side];
        }),
      rollback: async () =>
        this.#call(owner, 'rollback', () => {
          if (this.faults.deafFence === true) throw new PipelineError('CF-8104', 'no answer to the ROLLBACK');
          if (this.held[side] === held) delete this.held[side];
        }),
    };
  }
}
