/**
 * A process that opens a fence and commits it: `node fence-holder.ts OPTIONS POINT`. Guarantee: at the crash point named it says `holding` to its
 * parent and does nothing more.
 */
import type { FenceOptions } from '#connectors/fence/fence.ts';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';

const [options = '', at = ''] = process.argv.slice(2);
installTestHooks({
  onFailpoint: (point) => {
    if (point !== at) return;
    process.send?.('holding');
    // The thread stands still: not even a socket is looked at.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
});
const fence = await postgresFences.open(JSON.parse(options) as FenceOptions, 1n);
await fence.commit({ marker: 'by another process' });
