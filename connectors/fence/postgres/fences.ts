/** PostgreSQL behind the fence port, on either side. */
import type { Fences } from '#connectors/fence/fence.ts';
import { dropFence, endFenceSessions, fenceState, liftFence } from './lift-fence.ts';
import { openFence } from './open-fence.ts';
import { prepareFence } from './prepare-fence.ts';
import { setSequences } from './set-sequences.ts';

export const postgresFences: Fences = {
  prepare: prepareFence,
  open: openFence,
  lift: liftFence,
  drop: dropFence,
  state: fenceState,
  endSessions: endFenceSessions,
  setSequences,
};
