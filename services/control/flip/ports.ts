/**
 * What a flip asks of the world. Guarantee of whoever implements it: a call that returns has happened and lasts; a call that throws may have
 * happened (its answer can be lost), and calling it again is harmless. Nothing else is assumed: not that two engines never run at once, nor
 * that one which lost its lease stops.
 */
import type { Finding } from '#schemas/errors.ts';
import type { Act } from '#schemas/migration/migration-row.ts';
import type { Journals } from '#schemas/migration/recovery.ts';
import type { MigrationEvent, Side, Standing } from '#schemas/migration/transitions.ts';

export type { Side } from '#schemas/migration/transitions.ts';

export const FLIP_KINDS = ['cutover', 'rollback'] as const;
export type FlipKind = (typeof FLIP_KINDS)[number];

/** The side that serves once it is done. */
export function flipTo(kind: FlipKind): Side {
  return kind === 'cutover' ? 'target' : 'source';
}

/** In the order in which they come. The decision is the end of `decide`. */
export const FLIP_STEPS = [
  'lease',
  'recover',
  'reverse',
  'gates',
  'target-fence',
  'begin',
  'hooks',
  'prepare',
  'compare',
  'predict',
  'recheck',
  'fence',
  'marker',
  'drain',
  'purity',
  'final-compare',
  'sequences',
  'swap',
  'decide',
  'open',
  'record',
  'flags',
  'after-hooks',
  'finish',
] as const;
export type FlipStep = (typeof FLIP_STEPS)[number];

/** The flip under way. */
export interface FlipAct {
  readonly kind: FlipKind;
  readonly drill: boolean;
  /** Greater than that of any act before it, whether that was decided or not. */
  readonly epoch: bigint;
  /** Who asked for it. */
  readonly by: string;
}

export interface StateChange {
  readonly actor: string;
  readonly step?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly epochSeen?: bigint;
}

/** The right to act on a migration. Every change checks in its own transaction that it is still held, and writes its audit record there. */
export interface Tenure {
  /** As last read or written by us. */
  readonly row: Standing & { readonly act: Act | undefined };
  /** Fires when it can no longer be relied on. */
  readonly lost: AbortSignal;
  /** @throws PipelineError CF-8002 when the state refuses the event; CF-8003, for good, when it is not ours any more */
  apply(event: MigrationEvent, change: StateChange): Promise<Tenure['row']>;
  /** A record of the audit trail that changes no state. @throws PipelineError CF-8003 */
  note(noted: { readonly actor: string; readonly event: string; readonly details: Readonly<Record<string, unknown>> }): Promise<void>;
  /** Asks whether it is still held. @throws PipelineError CF-8003 */
  confirm(): Promise<void>;
  release(): Promise<void>;
}

export interface StatePort {
  /** @throws PipelineError CF-8001 when somebody else acts */
  lease(): Promise<Tenure>;
  /** Of both sides. @throws PipelineError CF-2001, CF-5001 */
  journals(): Promise<Journals>;
}

export interface SequenceChange {
  readonly sequence: string;
  /** Of the side that served. */
  readonly was: string;
  /** Set on the other side. */
  readonly set: string;
}

/** A fence that is locked but not decided: it ends with its session. */
export interface OpenFence {
  readonly lockWaitMs: number;
  /** Writers have waited for this long when it is handed over. */
  readonly blockedMs: number;
  /** Sequence values under the lock, to be given to `setSequences` of the other side. */
  sequences(): Promise<unknown>;
  /** THE decision. A failure leaves it open whether it happened: `settle`. */
  commit(marker: string, details: Readonly<Record<string, unknown>>): Promise<void>;
  rollback(): Promise<void>;
  /** Resolves when its session is gone, which is a rollback. */
  readonly lost: Promise<Error>;
  /** Where nobody else can read the fenced tables: its session, for the comparison. */
  readonly reader?: unknown;
  /** Where the sides exchange their names with the decision: all of it but the COMMIT. Readers wait until then. */
  swapNames?(): Promise<void>;
}

/** The fence of one side. */
export interface FencePort {
  /** Schema, journal, function; outside of the block. */
  prepare(epoch: bigint): Promise<void>;
  /** Waits at most the lock time-out. The journal row of this epoch stands in it. @throws PipelineError CF-81xx */
  open(epoch: bigint): Promise<OpenFence>;
  /** `partly`: some tables refuse writes and some do not. */
  state(): Promise<'none' | 'up' | 'down' | 'partly'>;
  /** Writers may write here again, and the journal here has the decision, too. Does nothing where a later epoch has fenced this side, or this one is void here. */
  lift(epoch: bigint): Promise<void>;
  /**
   * What became of the fence of this epoch, for good: decided, or void, and then it can never be committed any more. A session that still
   * holds it is ended.
   */
  settle(epoch: bigint): Promise<'decided' | 'void'>;
  /** Only ever raises what is there. @param values from `OpenFence.sequences` of the other side */
  setSequences(values: unknown): Promise<readonly SequenceChange[]>;
}

export interface Marker {
  readonly id: string;
  readonly lsn: string;
}

/** The pipeline from a side to the other one. */
export interface PipePort {
  /** Written on `from` by a session of its own. */
  mark(from: Side): Promise<Marker>;
  /** Resolves once the other side has it: all that was committed on `from` before it is applied there. */
  applied(from: Side, marker: Marker, signal: AbortSignal): Promise<void>;
}

export interface CompareVerdict {
  readonly clean: boolean;
  /** False where it is not clean: something could not be judged. */
  readonly differs: boolean;
  /** In words, with figures. */
  readonly summary: string;
  readonly report: Readonly<Record<string, unknown>>;
}

export interface OpenCompare {
  /** The comparison of everything while writes went on. */
  readonly before: CompareVerdict;
  /** Keeps what is left for `finish` small. @returns how long that would take, about */
  refresh(signal: AbortSignal): Promise<{ readonly keys: number; readonly predictedMs: number }>;
  /** Both sides stand still: what changed since `before`, exactly. `reader`: of the fence. */
  finish(at: Marker, signal: AbortSignal, reader?: unknown): Promise<CompareVerdict>;
  close(): Promise<void>;
}

export interface ComparePort {
  begin(from: Side, signal: AbortSignal): Promise<OpenCompare>;
}

/** One condition of a flip, with what was seen. */
export interface GateResult {
  readonly gate: string;
  readonly state: 'open' | 'closed' | 'skipped';
  /** In words, with figures. */
  readonly evidence: string;
  /** Why it is closed and what to do; a warning where it is open. */
  readonly finding?: Finding;
}

export interface GatesPort {
  /** All of them, whatever the first ones say. */
  check(kind: FlipKind, drill: boolean): Promise<readonly GateResult[]>;
  /** Those that may close while both sides are compared; the way back proves anew that it stands. */
  again(kind: FlipKind, drill: boolean): Promise<readonly GateResult[]>;
  /** What can be told at once, while writers wait. */
  atFence(kind: FlipKind, drill: boolean): Promise<readonly GateResult[]>;
}

/** Of the gates the one that looks whether the way back stands. */
export const REVERSE_GATE = 'reverse';

export interface ReversePort {
  /** The way back is to stand, where there is one; whether it does, its gate says. @returns false when it was wanted before, or there is none */
  want(by: string): Promise<boolean>;
  /** What was just wanted, and does not stand, is not to be set up after all. */
  unwant(by: string): Promise<void>;
}

export interface FlagsPort {
  /** The state row says so already; this only tells it to whoever listens. */
  announce(serves: Side, epoch: bigint): Promise<void>;
}

export interface HookCall {
  readonly event: 'before' | 'after';
  readonly kind: FlipKind;
  readonly drill: boolean;
  readonly epoch: bigint;
  readonly serves: Side;
}

export interface HookReport {
  readonly hook: string;
  readonly ok: boolean;
  readonly ms: number;
  /** Exit code or HTTP status, and the beginning of what it said. */
  readonly said: string;
}

export interface HooksPort {
  /** In the file's order; stops at the first that is not ok. */
  before(call: HookCall): Promise<readonly HookReport[]>;
  /** Each is tried several times; none stops the others. */
  after(call: HookCall): Promise<readonly HookReport[]>;
}

export interface FlipClock {
  /** Milliseconds that only go up. */
  now(): number;
  /** ISO time. */
  time(): string;
  delay(ms: number, signal: AbortSignal): Promise<void>;
  /** Between 0 and 1. */
  random(): number;
}

export interface FlipPorts {
  readonly clock: FlipClock;
  readonly state: StatePort;
  readonly fences: Readonly<Record<Side, FencePort>>;
  readonly pipe: PipePort;
  readonly compare: ComparePort;
  readonly reverse: ReversePort;
  readonly gates: GatesPort;
  readonly flags: FlagsPort;
  readonly hooks: HooksPort;
}

/** What the recovery of an act needs of them. */
export type RecoveryPorts = Pick<FlipPorts, 'clock' | 'state' | 'fences' | 'flags' | 'hooks'>;
