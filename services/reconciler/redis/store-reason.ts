/** A failure of Redis, or of the source, as a reason not to judge. Guarantee: of a server's message only its code is passed on. */
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { serverReason } from '../server-reason.ts';

const LOST = /Connection is closed|Connection ended|isn't writeable|Command timed out|max retries per request|ECONNRE|EPIPE|ETIMEDOUT/;
const MOVED = /^(?:MOVED|ASK|CLUSTERDOWN|TRYAGAIN|LOADING|MASTERDOWN|READONLY|UNBLOCKED)\b/;

/** Undefined: not from a server, so a failure of our own. */
export function storeReason(error: unknown): Inconclusive | undefined {
  if (!(error instanceof Error)) return undefined;
  if (LOST.test(error.message) || MOVED.test(error.message))
    return { cause: 'changed', message: 'Redis ended the session, or moved keys, while it was compared' };
  if (error.name !== 'ReplyError') return serverReason(error);
  const [code = ''] = error.message.split(' ', 1);
  return {
    cause: 'unreadable',
    message: `Redis refused a command (${/^[A-Z]+$/.test(code) ? code : 'ERR'}): the user needs +@read and INFO`,
  };
}
