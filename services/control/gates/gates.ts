/**
 * The gates of a flip. Guarantee: all are looked at, whatever the first ones say, each within its time; one that cannot be looked at is closed, since what
 * is not known is not open.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '#schemas/error-catalogue.ts';
import { type Finding, messageOf, PipelineError } from '#schemas/errors.ts';
import { errorFinding, warningFinding } from '#schemas/finding.ts';
import type { FlipKind, GateResult, GatesPort } from '../flip/ports.ts';

export interface Look {
  readonly kind: FlipKind;
  readonly drill: boolean;
  readonly phase: LookPhase;
}

/** Before anything is begun; after the comparison of everything; behind the fence. */
export type LookPhase = 'begin' | 'again' | 'fence';

export interface GateVerdict {
  /** Absent: open. */
  readonly closed?: { readonly code: ErrorCode; readonly remedy?: string };
  /** In words, with figures. */
  readonly evidence: string;
  readonly isSkipped?: true;
  /** Worth knowing though it is open. */
  readonly warning?: { readonly code: ErrorCode; readonly remedy?: string };
}

export interface Gate {
  readonly name: string;
  /** When it is looked at; absent: at the beginning and again. */
  readonly phases?: readonly LookPhase[];
  look(at: Look): Promise<GateVerdict>;
}

const LOOK_MS = 30_000;
const USUAL: readonly LookPhase[] = ['begin', 'again'];

export function gatesPort(gates: readonly Gate[]): GatesPort {
  const look = async (at: Look): Promise<readonly GateResult[]> =>
    Promise.all(gates.filter(({ phases = USUAL }) => phases.includes(at.phase)).map(async (gate) => resultOf(gate, at)));
  return {
    check: async (kind, drill) => look({ kind, drill, phase: 'begin' }),
    again: async (kind, drill) => look({ kind, drill, phase: 'again' }),
    atFence: async (kind, drill) => look({ kind, drill, phase: 'fence' }),
  };
}

async function resultOf(gate: Gate, at: Look): Promise<GateResult> {
  try {
    const { closed, evidence, isSkipped, warning } = await Promise.race([gate.look(at), late()]);
    const shared = { gate: gate.name, evidence };
    if (closed !== undefined) return { ...shared, state: 'closed', finding: closedFinding(gate.name, evidence, closed) };
    const noted = warning && { finding: warningFinding(warning.code, `gate ${gate.name}: ${evidence}`, warning.remedy) };
    return { ...shared, state: isSkipped === true ? 'skipped' : 'open', ...noted };
  } catch (error) {
    const evidence = `not known: ${messageOf(error)}`;
    const remedy = error instanceof PipelineError ? error.remedy : undefined;
    return {
      gate: gate.name,
      state: 'closed',
      evidence,
      finding: closedFinding(gate.name, evidence, { code: 'CF-8333', ...(remedy && { remedy }) }),
    };
  }
}

async function late(): Promise<never> {
  await delay(LOOK_MS, undefined, { ref: false });
  throw new PipelineError('CF-8333', `not looked at within ${LOOK_MS / 1000} s`);
}

function closedFinding(name: string, evidence: string, { code, remedy }: NonNullable<GateVerdict['closed']>): Finding {
  return errorFinding(code, `gate ${name}: ${evidence}`, remedy);
}
