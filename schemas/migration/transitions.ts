/**
 * The states of a migration and what each event makes of them (SPEC.md). Guarantee: total (every state answers every event, with the next state or
 * with a named refusal), pure, and the only place that says which change of state is lawful.
 */
import { invariant } from '../errors.ts';

export type Side = 'source' | 'target';

/** Of a flip or a drill, `…-decided` is what comes after the COMMIT that cannot be taken back. */
export const MIGRATION_STATES = [
  'following',
  'verified',
  'cutover-drill',
  'cutting-over',
  'cutover-decided',
  'observing',
  'rollback-drill',
  'rolling-back',
  'rollback-decided',
  'signed-off',
  'aborted',
  'cleaned-up',
] as const;
export type MigrationState = (typeof MIGRATION_STATES)[number];

export const MIGRATION_EVENTS = [
  /** Source and target were compared whole, and are equal. */
  'proved',
  /** They differ, or the proof is too old. */
  'doubted',
  'cutover-begun',
  'rollback-begun',
  /** A flip that is going to be undone before its decision. */
  'drill-begun',
  /** An act has come to another step; only noted. */
  'stepped',
  /** The journal row of the act's epoch is committed, with the fence. */
  'decided',
  /** All that follows the decision is done. */
  'finished',
  /** The act's fence is rolled back, and its epoch can be decided no more. */
  'backed-out',
  /** The source's journal says that a forced rollback took place while the target could not be reached. */
  'forced-found',
  'signed-off',
  'aborted',
  'cleaned-up',
] as const;
export type MigrationEvent = (typeof MIGRATION_EVENTS)[number];

export const REFUSALS = {
  busy: 'a flip or a drill is under way',
  idle: 'no flip and no drill is under way',
  'source-serves': 'the source serves',
  'target-serves': 'the target serves',
  undecided: 'the flip is not decided',
  decided: 'the flip is decided, and can only go on',
  drill: 'a drill is never decided',
  open: 'the migration is neither signed off nor aborted',
  ended: 'the migration has ended',
} as const;
export type Refusal = keyof typeof REFUSALS;

type Answer = MigrationState | `!${Refusal}`;

const ALL_BUSY = {
  proved: '!busy',
  doubted: '!busy',
  'cutover-begun': '!busy',
  'rollback-begun': '!busy',
  'drill-begun': '!busy',
  'signed-off': '!busy',
  aborted: '!busy',
  'cleaned-up': '!busy',
} as const;

const ALL_IDLE = { stepped: '!idle', decided: '!idle', finished: '!idle', 'backed-out': '!idle' } as const;

const ALL_ENDED = {
  proved: '!ended',
  doubted: '!ended',
  'cutover-begun': '!ended',
  'rollback-begun': '!ended',
  'drill-begun': '!ended',
  ...ALL_IDLE,
  'forced-found': '!ended',
  'signed-off': '!ended',
  aborted: '!ended',
} as const;

const BEFORE = {
  proved: 'verified',
  doubted: 'following',
  'cutover-begun': 'cutting-over',
  'rollback-begun': '!source-serves',
  'drill-begun': 'cutover-drill',
  ...ALL_IDLE,
  'forced-found': '!source-serves',
  'signed-off': '!source-serves',
  aborted: 'aborted',
  'cleaned-up': '!open',
} as const;

export const TRANSITIONS: Readonly<Record<MigrationState, Readonly<Record<MigrationEvent, Answer>>>> = {
  following: BEFORE,
  verified: BEFORE,
  'cutover-drill': {
    ...ALL_BUSY,
    stepped: 'cutover-drill',
    decided: '!drill',
    finished: '!undecided',
    'backed-out': 'following',
    'forced-found': '!source-serves',
  },
  'cutting-over': {
    ...ALL_BUSY,
    stepped: 'cutting-over',
    decided: 'cutover-decided',
    finished: '!undecided',
    'backed-out': 'following',
    // It was decided, which nobody had time to record, and then the target was lost.
    'forced-found': 'following',
  },
  'cutover-decided': {
    ...ALL_BUSY,
    stepped: 'cutover-decided',
    decided: 'cutover-decided',
    finished: 'observing',
    'backed-out': '!decided',
    'forced-found': 'following',
  },
  observing: {
    proved: 'observing',
    doubted: 'observing',
    'cutover-begun': '!target-serves',
    'rollback-begun': 'rolling-back',
    'drill-begun': 'rollback-drill',
    ...ALL_IDLE,
    'forced-found': 'following',
    'signed-off': 'signed-off',
    aborted: '!target-serves',
    'cleaned-up': '!open',
  },
  'rollback-drill': {
    ...ALL_BUSY,
    stepped: 'rollback-drill',
    decided: '!drill',
    finished: '!undecided',
    'backed-out': 'observing',
    'forced-found': 'following',
  },
  'rolling-back': {
    ...ALL_BUSY,
    stepped: 'rolling-back',
    decided: 'rollback-decided',
    finished: '!undecided',
    'backed-out': 'observing',
    'forced-found': 'following',
  },
  'rollback-decided': {
    ...ALL_BUSY,
    stepped: 'rollback-decided',
    decided: 'rollback-decided',
    finished: 'following',
    'backed-out': '!decided',
    'forced-found': 'following',
  },
  'signed-off': { ...ALL_ENDED, 'cleaned-up': 'cleaned-up' },
  aborted: { ...ALL_ENDED, 'cleaned-up': 'cleaned-up' },
  'cleaned-up': { ...ALL_ENDED, 'cleaned-up': '!ended' },
};

/** Which side serves in a state; absent: whichever did. */
const SERVES: Readonly<Partial<Record<MigrationState, Side>>> = {
  following: 'source',
  verified: 'source',
  'cutover-drill': 'source',
  'cutting-over': 'source',
  'cutover-decided': 'target',
  observing: 'target',
  'rollback-drill': 'target',
  'rolling-back': 'target',
  'rollback-decided': 'source',
  'signed-off': 'target',
  aborted: 'source',
};

export type ActKind = 'cutover' | 'rollback' | 'cutover-drill' | 'rollback-drill';

/** What is under way in a state; absent: nothing. */
const ACTS: Readonly<Partial<Record<MigrationState, { readonly kind: ActKind; readonly isDecided: boolean }>>> = {
  'cutover-drill': { kind: 'cutover-drill', isDecided: false },
  'cutting-over': { kind: 'cutover', isDecided: false },
  'cutover-decided': { kind: 'cutover', isDecided: true },
  'rollback-drill': { kind: 'rollback-drill', isDecided: false },
  'rolling-back': { kind: 'rollback', isDecided: false },
  'rollback-decided': { kind: 'rollback', isDecided: true },
};

export function actOf(state: MigrationState): { readonly kind: ActKind; readonly isDecided: boolean } | undefined {
  return ACTS[state];
}

/** What moves from state to state: one flip or drill has one epoch, and no two have the same. */
export interface Standing {
  readonly state: MigrationState;
  /** The side that applications may write to, as far as the state knows: the journals decide (recovery.ts). */
  readonly serves: Side;
  /** Of the last flip or drill that began. */
  readonly epoch: bigint;
}

export const BEGINNING: Standing = { state: 'following', serves: 'source', epoch: 0n };

export type Stepped = { readonly ok: true; readonly next: Standing } | { readonly ok: false; readonly refusal: Refusal };

/** `epochSeen`: the highest of the journals, which a forced rollback raises without the state's knowledge. */
export function step(standing: Standing, event: MigrationEvent, epochSeen = 0n): Stepped {
  const answer = TRANSITIONS[standing.state][event];
  if (isRefusal(answer)) return { ok: false, refusal: answer.slice(1) as Refusal };
  const begins = actOf(standing.state) === undefined && actOf(answer) !== undefined;
  const seen = standing.epoch > epochSeen ? standing.epoch : epochSeen;
  const next = { state: answer, serves: SERVES[answer] ?? standing.serves, epoch: begins ? seen + 1n : seen };
  invariant(next.serves === standing.serves || event === 'decided' || event === 'forced-found', `${event} changes who serves`);
  return { ok: true, next };
}

function isRefusal(answer: Answer): answer is `!${Refusal}` {
  return answer.startsWith('!');
}

export function otherSide(side: Side): Side {
  return side === 'source' ? 'target' : 'source';
}

/** The side that a flip or drill fences: the one that serves when it begins. */
export function fencedSide(kind: ActKind): Side {
  return kind === 'cutover' || kind === 'cutover-drill' ? 'source' : 'target';
}
