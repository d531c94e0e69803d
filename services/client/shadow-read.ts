/**
 * A read of one store or of both. Guarantee: the application gets the answer of the store that the flags name, as soon as that store has it: the other one
 * is never waited for, and its failure is only counted. A read that fails on a store that does not serve is answered by the one that does.
 *
 * A difference counts only if it lasts: the copy is a little behind, so both are read again after a while, and what is equal then is `settled`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { canonicalValue } from '#schemas/flags/canonical-value.ts';
import type { Observation, SideObservation } from '#schemas/flags/observation.ts';
import { answeringSide, type ReadStage, type Side } from '#schemas/flags/read-rules.ts';

export interface ReadPair<T> {
  source(): Promise<T> | T;
  target(): Promise<T> | T;
  /** Whether both say the same; without it their canonical forms are compared. The answers must not be changed in place then. */
  readonly compare?: (source: T, target: T) => boolean;
}

export interface ReadWhere {
  readonly unit?: string;
  readonly table?: string;
}

export interface ShadowLimits {
  /** Reads of the other store under way at a time; further ones are left out. */
  readonly inFlight: number;
  /** Before both are read again. */
  readonly againMs: number;
  readonly againTimes: number;
  /** What takes longer is not waited for. */
  readonly timeoutMs: number;
}

interface Answer<T> {
  readonly observed: SideObservation;
  readonly outcome: { readonly ok: true; readonly value: T; readonly hash: string } | { readonly ok: false; readonly error: unknown };
}

/** Of this process: hashes tell which answers were equal, and nobody who sees them can try values. */
const SALT = randomBytes(16);

export class ShadowReads {
  readonly #limits: ShadowLimits;
  readonly #report: (observation: Observation) => void;
  #inFlight = 0;
  /** Shadow reads that were left out. */
  skipped = 0;

  constructor(limits: ShadowLimits, report: (observation: Observation) => void) {
    this.#limits = limits;
    this.#report = report;
  }

  async read<T>(pair: ReadPair<T>, { stage, serves }: { readonly stage: ReadStage; readonly serves: Side }, where: ReadWhere): Promise<T> {
    const side = answeringSide(stage, serves);
    const first = answerOf(pair, side);
    if (stage === 'shadow') void this.#shadow({ pair, side, first, where });
    const answer = await first;
    if (stage !== 'shadow') this.#report({ op: 'read', stage, ...where, [side]: answer.observed });
    if (answer.outcome.ok) return answer.outcome.value;
    if (side === serves) throw answer.outcome.error;
    const fallback = await answerOf(pair, serves);
    this.#report({ op: 'read', stage, ...where, [serves]: fallback.observed });
    if (fallback.outcome.ok) return fallback.outcome.value;
    throw fallback.outcome.error;
  }

  /** Never rejects. */
  async #shadow<T>({ pair, side, first, where }: Shadowed<T>): Promise<void> {
    const other: Side = side === 'source' ? 'target' : 'source';
    const common = { op: 'read', stage: 'shadow', ...where } as const;
    if (this.#inFlight >= this.#limits.inFlight) {
      this.skipped++;
      this.#report({ ...common, [side]: (await first).observed });
      return;
    }
    this.#inFlight++;
    try {
      const second = await within(answerOf(pair, other), this.#limits.timeoutMs);
      const own = await first;
      const observed = second?.observed ?? { ms: this.#limits.timeoutMs, error: 'timeout' };
      this.#report({ ...common, [side]: own.observed, [other]: observed, ...(await this.#judge(pair, side, [own, second])) });
    } finally {
      this.#inFlight--;
    }
  }

  async #judge<T>(
    pair: ReadPair<T>,
    side: Side,
    [own, other]: readonly [Answer<T>, Answer<T> | undefined],
  ): Promise<Pick<Observation, 'result' | 'hashes'>> {
    if (other === undefined) return { result: 'incomparable' };
    let hashes: readonly [string, string] | undefined;
    let answers = side === 'source' ? ([own, other] as const) : ([other, own] as const);
    for (let again = 0; ; again++) {
      const [source, target] = answers;
      if (!source.outcome.ok || !target.outcome.ok) return { result: 'incomparable' };
      hashes = [source.outcome.hash, target.outcome.hash];
      const isEqual = same(pair, source.outcome, target.outcome);
      if (isEqual === undefined) return { result: 'incomparable' };
      if (isEqual) return { result: again === 0 ? 'equal' : 'settled' };
      if (again === this.#limits.againTimes) return { result: 'different', hashes };
      await after(this.#limits.againMs);
      answers = await Promise.all([answerOf(pair, 'source'), answerOf(pair, 'target')]);
    }
  }
}

interface Shadowed<T> {
  readonly pair: ReadPair<T>;
  readonly side: Side;
  readonly first: Promise<Answer<T>>;
  readonly where: ReadWhere;
}

interface Read<T> {
  readonly value: T;
  readonly hash: string;
}

/** Undefined: the application's own comparison threw. */
function same<T>({ compare }: ReadPair<T>, source: Read<T>, target: Read<T>): boolean | undefined {
  if (compare === undefined) return source.hash === target.hash;
  try {
    return compare(source.value, target.value);
  } catch {
    return undefined;
  }
}

/** Never rejects. The hash is made before anybody can change the value. */
async function answerOf<T>(pair: ReadPair<T>, side: Side): Promise<Answer<T>> {
  const beganMs = performance.now();
  try {
    const value = await pair[side]();
    const observed = { ms: performance.now() - beganMs };
    return { observed, outcome: { ok: true, value, hash: hashOf(value) } };
  } catch (error) {
    return { observed: { ms: performance.now() - beganMs, error: errorName(error) }, outcome: { ok: false, error } };
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(SALT).update(canonicalValue(value), 'utf8').digest('hex').slice(0, 16);
}

/** A SQLSTATE or a class, never a text: that may hold values. */
export function errorName(error: unknown): string {
  const { code, name } = (typeof error === 'object' && error !== null ? error : {}) as { readonly code?: unknown; readonly name?: unknown };
  if (typeof code === 'string') return code.slice(0, 40);
  return typeof name === 'string' ? name.slice(0, 40) : 'error';
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms).unref();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function after(ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, ms);
  });
}
