/** What must hold before an act. Guarantee: each gate has a name that stays, and says what was looked at whether it is open or closed. */

export interface Gate {
  /** Small letters and hyphens, for example `lag`, `approvals`, `reads`. */
  readonly gate: string;
  readonly isOpen: boolean;
  /** What was found, in words an operator can check. */
  readonly evidence: string;
  /** What opens it; empty where it is open. */
  readonly remedy: string;
}

export function openGate(gate: string, evidence: string): Gate {
  return { gate, isOpen: true, evidence, remedy: '' };
}

export function closedGate(gate: string, evidence: string, remedy: string): Gate {
  return { gate, isOpen: false, evidence, remedy };
}
