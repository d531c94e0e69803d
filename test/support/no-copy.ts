/** Copy hooks of a reader that copies nothing. Guarantee: nothing is tracked, so the stream passes as it comes. */
import type { CopyHooks } from '#services/reader/copy/copy-port.ts';

export const NO_COPY: CopyHooks = {
  onBegin: () => undefined,
  onRelation: () => undefined,
  isTracked: () => false,
  onChange: () => undefined,
  onTruncate: () => undefined,
  onLeftOut: () => undefined,
  onMessage: () => undefined,
  recordsBeforeCommit: () => [],
  recordsAfterCommit: () => [],
  onDurable: () => undefined,
  onStreamRestart: () => undefined,
  slotCeiling: () => undefined,
};
