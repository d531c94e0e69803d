/**
 * One table's way to a verdict. Guarantee: a key leaves the open ones only by a look at which it was not touched, and then for good; a look that is
 * void changes nothing.
 */
import { formatLsn } from '#schemas/lsn.ts';
import type { DifferenceSample, Inconclusive, InconclusiveCause, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { VerifyLimits } from '../limits.ts';
import type { StoreAlignment, Touched } from './align-store.ts';
import type { Look, Suspect } from './table-look.ts';

/** So often a key that changes is looked at again; a look at few keys takes a tenth of a second. */
const LOOKS_MAX = 30;

const RETRIED: ReadonlySet<InconclusiveCause> = new Set(['changed', 'in-flight', 'volume']);

export class TableWork {
  readonly probe: TableProbe;
  readonly #limits: VerifyLimits;
  readonly #counts = { missing: 0, extra: 0, different: 0 };
  readonly #sample: DifferenceSample[] = [];
  /** Touched at each look so far, as JSON of their texts. */
  #open: ReadonlySet<string> = new Set();
  #whole: (Pick<Look, 'rowsSource' | 'rowsTarget' | 'expired'> & { readonly lsn: string }) | undefined;
  #looks = 0;
  #failures = 0;
  #end: Inconclusive | 'clear' | undefined;

  constructor(probe: TableProbe, limits: VerifyLimits) {
    this.probe = probe;
    this.#limits = limits;
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** All of it was looked at: what is open is known by key. */
  get isLooked(): boolean {
    return this.#whole !== undefined;
  }

  get openKeys(): readonly Texts[] {
    return [...this.#open].map((key) => JSON.parse(key) as Texts);
  }

  /** It cannot be compared now. */
  refuse(reason: Inconclusive): void {
    this.#end = reason;
  }

  /** This look says nothing; another one may. */
  fail(reason: Inconclusive): void {
    this.#failures++;
    if (!RETRIED.has(reason.cause) || this.#failures >= this.#limits.attempts) this.#end = reason;
  }

  take(look: Look, { keys, voided, copied }: Touched, { lsn, active }: Pick<StoreAlignment, 'lsn' | 'active'>): void {
    const reason = voided ?? (copied && look.suspects.size > 0 ? COPIED : undefined);
    if (reason !== undefined) {
      this.fail(reason);
      return;
    }
    for (const [key, suspect] of look.suspects) if (!keys.has(key)) this.#add(suspect);
    this.#open = this.#whole === undefined ? keys : this.#open.intersection(keys);
    this.#whole ??= { ...look, lsn: formatLsn(lsn) };
    this.#looks++;
    const left = this.#open.size;
    if (look.isCut) this.#end = { cause: 'volume', message: 'more rows seem to differ than are judged one by one' };
    else if (left === 0) this.#end = 'clear';
    else if (!active)
      this.#end = { cause: 'lag', message: `${left} rows changed that Redis does not have yet: start crossfade up, then verify again` };
    else if (this.#looks >= LOOKS_MAX) this.#end = { cause: 'hot', message: `${left} rows changed at each of ${this.#looks} looks` };
  }

  #add({ kind, key, sourceKey, columns, isForeign }: Suspect): void {
    this.#counts[kind]++;
    if (this.#sample.length >= this.#limits.samples) return;
    const named = Object.fromEntries(this.probe.mapping.targetKey.map((name, i) => [name, key[i] ?? null]));
    const cause = isForeign === true ? ({ cause: 'foreign' } as const) : {};
    this.#sample.push({ key: named, kind, columns, ...(sourceKey !== undefined && { sourceKey }), ...cause });
  }

  verdict(): TableVerdict {
    const { from, to, steps } = this.probe.mapping;
    const { rowsSource = 0, rowsTarget = 0, expired = 0, lsn = null } = this.#whole ?? {};
    return {
      from: `${from.schema}.${from.name}`,
      to: `${to.schema}.${to.name}`,
      rowsSource,
      rowsTarget,
      ...this.#counts,
      ...(expired > 0 && { expired }),
      sample: this.#sample,
      ...(steps !== undefined && { sharedFunctionOnly: steps.computed.map(({ target }) => target) }),
      lsn,
      ...(this.#end !== undefined && this.#end !== 'clear' && { inconclusive: this.#end }),
    };
  }
}

const COPIED: Inconclusive = { cause: 'changed', message: 'rows of the table were copied again while it was compared' };
