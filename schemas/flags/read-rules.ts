/**
 * Who reads where, as an operator sets it. Guarantee: a change gives a whole new set of rules under a higher version, or says why it may not
 * be made; raising a percentage moves nobody back (bucket.ts), and nothing here ever decides about writes.
 *
 * The order of the rules, first match wins (evaluate.ts):
 *   1. `kill`: everybody reads where writes go.
 *      `dual`: a stage of dual writes says it for everybody (dual-stages.ts).
 *   2. `followsWrites`, or no rules at all: the same, because no read flag was ever set.
 *   3. the table's own rules, where it has some, else those of all tables; within them
 *      a. the unit's name in `tenants`;
 *      b. its bucket below `targetPercent`: the target;
 *      c. its bucket below `shadowPercent`: shadow. The units that were shadowed first are the first that move;
 *      d. `stage`.
 */

import { type DualStage, stageThatHolds } from './dual-stages.ts';

export type Side = 'source' | 'target';
export type ReadStage = Side | 'shadow';
export const READ_STAGES: readonly ReadStage[] = ['source', 'shadow', 'target'];

/** For all tables, or for one. */
export interface RuleSet {
  readonly stage: ReadStage;
  /** 0 to 100, to the hundredth. */
  readonly targetPercent: number;
  readonly shadowPercent: number;
  readonly tenants: Readonly<Record<string, ReadStage>>;
}

export interface ReadRules {
  /** Raised by each change. Never goes down, also when the rules are given up. */
  readonly version: number;
  /** Chosen once: another one would put every unit into another bucket. */
  readonly salt: string;
  readonly kill: boolean;
  readonly followsWrites: boolean;
  readonly all: RuleSet;
  /** By source table, `schema.table`. */
  readonly tables: Readonly<Record<string, RuleSet>>;
  /** Of dual writes, as it was set; then it says where is read, and none of the rules above but `kill`. */
  readonly dual?: DualStage;
}

export type RulesChange =
  | {
      readonly kind: 'reads';
      readonly reads: ReadsValue;
      /** Absent: all tables that have no rules of their own. */
      readonly table?: string;
      /** Absent: every unit that is not named. */
      readonly tenant?: string;
    }
  | { readonly kind: 'kill'; readonly kill: boolean }
  | { readonly kind: 'follow-writes' }
  | { readonly kind: 'stage'; readonly stage: DualStage };

/** `default` takes back what was said of a tenant, or of a table. */
export type ReadsValue = ReadStage | 'default' | { readonly targetPercent: number } | { readonly shadowPercent: number };

const NOBODY: RuleSet = { stage: 'source', targetPercent: 0, shadowPercent: 0, tenants: {} };

/** @throws RangeError for a percentage that is none, or one of a single tenant; `freshSalt` is taken when these are the first rules. */
export function changeRules(before: ReadRules | undefined, change: RulesChange, freshSalt: string): ReadRules {
  const rules = before ?? { version: 0, salt: freshSalt, kill: false, followsWrites: true, all: NOBODY, tables: {} };
  const version = rules.version + 1;
  if (change.kind === 'kill') return { ...rules, version, kill: change.kill };
  if (change.kind === 'stage') return { ...rules, version, dual: change.stage };
  if (change.kind === 'follow-writes') return { ...rules, version, followsWrites: true, kill: false, all: NOBODY, tables: {} };
  const changed = { ...rules, version, followsWrites: false };
  if (change.table === undefined) return { ...changed, all: changeSet(rules.all, change) };
  const table = qualified(change.table);
  const { [table]: own, ...others } = rules.tables;
  if (change.reads === 'default' && change.tenant === undefined) return { ...changed, tables: others };
  return { ...changed, tables: { ...others, [table]: changeSet(own ?? rules.all, change) } };
}

function changeSet(set: RuleSet, { reads, tenant }: Extract<RulesChange, { kind: 'reads' }>): RuleSet {
  if (tenant !== undefined) {
    if (typeof reads === 'object') throw new RangeError('a percentage is of all tenants that are not named: give it without a tenant');
    const { [tenant]: _before, ...others } = set.tenants;
    return { ...set, tenants: reads === 'default' ? others : { ...others, [tenant]: reads } };
  }
  if (reads === 'default') return { ...NOBODY, tenants: set.tenants };
  if (typeof reads === 'string') return { stage: reads, targetPercent: 0, shadowPercent: 0, tenants: set.tenants };
  const stage = set.stage === 'target' ? 'source' : set.stage;
  if ('targetPercent' in reads) return { ...set, stage, targetPercent: percentage(reads.targetPercent) };
  return { ...set, stage, shadowPercent: percentage(reads.shadowPercent) };
}

function percentage(value: number): number {
  if (value >= 0 && value <= 100) return Math.round(value * 100) / 100;
  throw new RangeError(`${value} is no percentage: give 0 to 100`);
}

/** A table without a schema is one of `public`. */
export function qualified(table: string): string {
  return table.includes('.') ? table : `public.${table}`;
}

/**
 * Behind a flip. A stage of dual writes that was set while the other store served is over: a later flip back must not find it again. Undefined: nothing changes, reads by
 * rules are the operator's.
 */
export function rulesAfterFlip(before: ReadRules, serves: Side): ReadRules | undefined {
  if (before.dual === undefined) return undefined;
  const dual = stageThatHolds(before.dual, serves);
  return dual === before.dual ? undefined : { ...before, version: before.version + 1, dual };
}

/** Where reads go under the rules: one side for everybody, or not. What the gate `reads` of a cut-over asks. */
export function readsOf(rules: ReadRules | undefined, serves: Side): Side | 'mixed' {
  if (rules === undefined || rules.followsWrites || rules.kill || rules.dual !== undefined) return serves;
  const sides = new Set([rules.all, ...Object.values(rules.tables)].flatMap((set) => sidesOf(set, serves)));
  return sides.size === 1 ? [...sides][0]! : 'mixed';
}

/** The sides that some unit's answers come from. */
function sidesOf({ stage, targetPercent, shadowPercent, tenants }: RuleSet, serves: Side): Side[] {
  const stages = new Set<ReadStage>(Object.values(tenants));
  const target = stage === 'target' ? 100 : targetPercent;
  if (target > 0) stages.add('target');
  if (shadowPercent > target && stage !== 'target') stages.add('shadow');
  if (Math.max(target, shadowPercent) < 100) stages.add(stage);
  return [...stages].map((each) => answeringSide(each, serves));
}

/** Shadow reads both, and answers with the store that serves. */
export function answeringSide(stage: ReadStage, serves: Side): Side {
  return stage === 'shadow' ? serves : stage;
}
