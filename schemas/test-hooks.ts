/**
 * Hooks for crash tests and for checking the checks. Guarantee: without an installed hook these functions do nothing and cost one
 * comparison. Only a composition root installs them, and only when the environment asks for it.
 */

/** Places where a crash test may strike, in the order of a change's life. */
export const FAILPOINTS = [
  'start.connected',
  'start.log-recovered',
  'start.epoch-written',
  'chunk.read',
  'chunk.rows-read',
  'chunk.high-watermark',
  'chunk.durable',
  'log.append',
  'log.written',
  'log.synced',
  'slot.confirm',
  'sink.begin',
  'sink.keys-sent',
  'sink.keys-allocated',
  'sink.applied',
  'sink.commit',
  'sink.committed',
  'changeover',
  'target.join',
  'dlq.published',
  'step.begun',
  'step.run',
  'step.undone',
  'state.written',
  'state.committed',
  'reverse.slot-gone',
  'reverse.slot-made',
  'reverse.begun',
  'forward.log-anew',
  'forward.slot-made',
  'forward.begun',
  'fence.quiet',
  'fence.locked',
  'fence.raised',
  'fence.swap-locked',
  'fence.swapped',
  'fence.commit',
  'fence.committed',
  'flip.leased',
  'flip.settled',
  'flip.begun',
  'flip.allowed',
  'flip.prepared',
  'flip.compared-before',
  'flip.fencing',
  'flip.fenced',
  'flip.marked',
  'flip.drained',
  'flip.compared',
  'flip.sequenced',
  'flip.recorded',
  'flip.decided',
  'flip.opened',
  'flip.announced',
  'flip.told',
  'cleanup.removed',
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** Guards that a test may switch off to see itself go red. */
export const GUARDS = [
  'visibility', // chunk accepted without looking at transactions streamed but invisible
  'visibility-memory', // what the guard must remember is not restored after a restart
  'merge', // partial changes in a window do not complete the chunk's row
  'window', // changes in a window do not exclude the chunk's rows
  'truncate-window', // a truncate does not empty open chunks
  'key-recopy', // a key change with absent columns is not copied again
  'carry', // absent columns of a key change are not taken from the old target row
  'duplicate', // the sink applies what it has applied before
  'library-ack', // standby status as the library's acknowledge() sends it: LSN + 1
  'slowest-target', // the log is trimmed behind the fastest of several targets
  'join', // a target that is added later begins with what the log still holds
  'early-ack', // the slot moves to what was received, not to what is durable
  'shape', // chunk shape is not compared with the stream's
  'partition-watch', // attached and detached leaves go unnoticed
  'place', // Redis: a row is written whatever place it stands at
  'epoch', // the sink does not check its epoch
  'verify-changes', // verify ignores the changes between its two snapshots
  'verify-hidden', // verify does not look for transactions in the WAL that its snapshot cannot see
  'verify-range', // verify takes rows out of a range's sums that lie outside of it
  'mirror-align', // the log's present state is compared, not the one that the snapshot shows
  'verify-shape', // verify does not look for a truncate or rewrite behind its snapshot
  'foreign-repeats', // what a connector repeats after a restart counts again
  'row-epoch', // a replaced reader's rows within a valid segment's range count
  'writer-epoch', // a reader does not notice that another one has begun a higher epoch
  'order-range', // rows that no segment names count
  'written-ahead', // a row that the application wrote ahead of the stream counts as different
  'conflict', // rows that others wrote are overwritten as if nobody had
  'blocked', // later changes of a key that was set aside reach the target
  'claim-ends', // a segment is taken before the mapped topics were read up to the claim's ends
  'table-tag', // what another file's transformer mapped and claimed counts
  'raw-ends', // a raw topic that was made anew, or lost its tail, goes unnoticed
  'mapped-ends', // a mapped topic that was made anew, or lost its tail, goes unnoticed
  'key-once', // a key that is asked for again is given another id
  'fence-touched', // rows that changed since they were proved equal are not compared at the fence
  'flip-drain', // a flip does not wait until the marker is applied
  'flip-compare', // a flip decides whatever the final comparison says
  'claim-gap', // claims are taken that do not join the ones before, or whose outputs were removed
  'settle', // an epoch without a journal row counts as never decided, while it still can be
  'state-lease', // the state is changed by whoever has lost the lease
  'fence-always', // the fence's triggers do not see sessions of replicas
  'lock-circle', // a fence that waits for a writer that waits for it does not give way
  'names-standing', // a fence does not ask whether its tables still have the names that it knows
  'fence-overtaken', // a late lift takes down the fence of a later epoch
  'sequence-keys', // a sequence is set without looking at the keys that are taken
  'sequence-margin', // a sequence goes on right behind a value that may be handed out meanwhile
  'flag-epoch', // Redis: an older document of the flags takes the place of a newer one
  'no-loops', // a reader takes what the other direction's sink wrote for the application's
  'foreign', // what others write on the side that does not serve reaches the other
  'settle-echo', // of an epoch that is made void only one side is told
  'lift-echo', // the side that a decision opens does not write it down
  'copy-undecided', // a re-copied chunk's rows enter the log behind a decision that was made meanwhile
  'resume-serving', // a held table is emptied on the side that serves, to be copied again
  'cleanup-others', // our schema goes although another migration stands in it
] as const;
export type Guard = (typeof GUARDS)[number];

/** Where a change may go astray: taken from the slot and not yet in the log; taken from the log and not yet folded. */
export const WAYS = ['reader', 'sink'] as const;
export type Way = (typeof WAYS)[number];
/** What arrives of a record of the stream: itself, another of its length, or nothing. */
export type Astray = (way: Way, record: Buffer) => Buffer | undefined;

let strike: ((point: Failpoint) => void) | undefined;
let disabled: ReadonlySet<string> = new Set();
let astray: Astray | undefined;

export function installTestHooks(options: {
  readonly onFailpoint?: (point: Failpoint) => void;
  readonly disabledGuards?: readonly string[];
  readonly astray?: Astray;
}): void {
  strike = options.onFailpoint;
  astray = options.astray;
  disabled = new Set(options.disabledGuards ?? []);
}

export function failpoint(point: Failpoint): void {
  if (strike !== undefined) strike(point);
}

/** True unless a test has switched this guard off. */
export function guarded(guard: Guard): boolean {
  return disabled.size === 0 || !disabled.has(guard);
}

/** Undefined: nothing goes astray. */
export function goesAstray(): Astray | undefined {
  return astray;
}
