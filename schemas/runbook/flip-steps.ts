/** The steps of a flip for whoever watches one: what each does, and what its failure means. Guarantee: in the order of a flip; writers wait in those marked. */

export interface FlipStepAdvice {
  readonly step: string;
  readonly does: string;
  readonly writersWait: boolean;
  /** What has happened when it fails, and what is to be done. */
  readonly onFailure: string;
  /** Of a rename swap only. */
  readonly ofSwap?: true;
}

const NOTHING = 'Nothing has happened.';
const BACKED_OUT = 'The fence is rolled back, queued writers go on, nothing has changed.';
const DECIDED = 'It is decided and not undone: the command repeats the step, then crossfade up does.';

export const FLIP_STEP_ADVICE: readonly FlipStepAdvice[] = [
  {
    step: 'gates',
    does: 'Looks at every gate.',
    writersWait: false,
    onFailure: `${NOTHING} Open the gates that are listed, each with its remedy.`,
  },
  {
    step: 'hooks',
    does: 'Asks the hooks that may veto.',
    writersWait: false,
    onFailure: `${NOTHING} Clear what the hook says, and begin again.`,
  },
  {
    step: 'compare',
    does: 'Compares every row while writes go on.',
    writersWait: false,
    onFailure: `${NOTHING} crossfade verify names the rows, crossfade repair copies them again.`,
  },
  {
    step: 'fence',
    does: 'Locks the tables against writes.',
    writersWait: true,
    onFailure: `${BACKED_OUT} The message names the sessions in the way: end them or wait, and begin again.`,
  },
  {
    step: 'marker',
    does: 'Writes the marker behind the last write.',
    writersWait: true,
    onFailure: `${BACKED_OUT} Begin again; if it fails twice, look at the connection to the side that serves.`,
  },
  {
    step: 'drain',
    does: 'Waits until the other side has applied the marker.',
    writersWait: true,
    onFailure: `${BACKED_OUT} crossfade status tells the lag: begin again when it is small.`,
  },
  {
    step: 'final-compare',
    does: 'Compares the rows that changed, on both sides at rest.',
    writersWait: true,
    onFailure: `${BACKED_OUT} Rows that differ are named: crossfade repair, then begin again.`,
  },
  {
    step: 'sequences',
    does: 'Sets sequences of the other side ahead.',
    writersWait: true,
    onFailure: `${BACKED_OUT} The message names the sequence.`,
  },
  {
    step: 'swap',
    does: 'Gives the names of the tables to the side that is to serve. Readers wait from the fence on, as writers do.',
    writersWait: true,
    onFailure: `${BACKED_OUT} The message names who has the tables, or which name is taken: begin again.`,
    ofSwap: true,
  },
  {
    step: 'decide',
    does: 'COMMIT of the fence: from here on the other side serves.',
    writersWait: true,
    onFailure: 'Asked again until it is known. Run the same command again: it goes on or backs out.',
  },
  { step: 'open', does: 'Lets writers in on the other side.', writersWait: true, onFailure: DECIDED },
  {
    step: 'flags',
    does: 'Tells applications by the flags.',
    writersWait: false,
    onFailure: `${DECIDED} Writers that were not told are refused with SQLSTATE 25006, which names the store that serves.`,
  },
  {
    step: 'after-hooks',
    does: 'Runs the hooks for DNS and configuration.',
    writersWait: false,
    onFailure: 'The flip stands. Do by hand what the hook named would have done.',
  },
];
