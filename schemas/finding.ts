/** Makes findings. Guarantee: each has its code's own remedy unless it is given a better one. */
import { catalogue, type ErrorCode } from './error-catalogue.ts';
import type { Finding } from './errors.ts';

export function errorFinding(code: ErrorCode, message: string, remedy: string = catalogue[code].remedy): Finding {
  return { severity: 'error', code, message, remedy };
}

export function warningFinding(code: ErrorCode, message: string, remedy: string = catalogue[code].remedy): Finding {
  return { severity: 'warning', code, message, remedy };
}

export function infoFinding(code: ErrorCode, message: string, remedy: string = catalogue[code].remedy): Finding {
  return { severity: 'info', code, message, remedy };
}

const RANK = { error: 0, warning: 1, info: 2 } as const;

/** Errors first; within a severity by the order in which they were found. */
export function bySeverity(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => RANK[a.severity] - RANK[b.severity]);
}

/** `a, b, c and 4 more`: long lists of tables stay readable. */
export function listNames(names: readonly string[], shown = 8): string {
  if (names.length <= shown + 1) return names.join(', ');
  return `${names.slice(0, shown).join(', ')} and ${names.length - shown} more`;
}
