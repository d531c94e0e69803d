/**
 * A server's refusal as a reason not to judge. Guarantee: no message of a server is passed on (it may quote a value), only its SQLSTATE.
 */
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';

/** lock_not_available, deadlock_detected, snapshot too old, undefined table or column, serialization: the table moved under us. */
const MOVED: ReadonlySet<string> = new Set(['55P03', '40P01', '72000', '42P01', '42703', '40001']);

/** Undefined: not from a server, so a failure of our own. */
export function serverReason(error: unknown): Inconclusive | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: string };
  if (isLost(error.message, code)) return { cause: 'changed', message: 'a server ended the session while it was compared' };
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  if (MOVED.has(code)) return { cause: 'changed', message: `a table was locked or altered while it was compared (SQLSTATE ${code})` };
  if (code === '42501')
    return {
      cause: 'unreadable',
      message: 'the role lacks a privilege (SELECT, or REPLICATION on the source), or a row security policy applies',
    };
  return { cause: 'unreadable', message: `a server refused a statement (SQLSTATE ${code})` };
}

/** Classes 08 and 57P, and what node-postgres says when the socket closes. */
function isLost(message: string, code: string | undefined): boolean {
  if (code !== undefined) return code.startsWith('08') || code.startsWith('57P') || code === 'ECONNRESET' || code === 'EPIPE';
  return /^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(message);
}
