/**
 * A flag's value for one context. Guarantee: total and pure: the same document, key and context give the same answer in a server, in the client and
 * in a test; rules are looked at in the order that read-rules.ts gives; `NAME.writes` is what the database says and has no rules. Where a migration moves
 * in waves, a unit gets what its wave says.
 */
import { bucketOf, isWithin } from './bucket.ts';
import { type DualStage, stageBehaviour, stageThatHolds } from './dual-stages.ts';
import { documentOf, type FlagDocument, versionOf, type WaveFlags } from './flag-document.ts';
import { answeringSide, qualified, type ReadStage, type RuleSet } from './read-rules.ts';
import { isTableOf } from './table-glob.ts';

export interface EvaluationContext {
  /** The tenant or user: what sticks. Absent: no rule by unit or percentage matches. */
  readonly targetingKey?: string;
  /** Looked for in the lists before `targetingKey`, for units that are users of a tenant. */
  readonly tenant?: string;
  /** `schema.table` of the source. */
  readonly table?: string;
}

export type Reason = 'STATIC' | 'TARGETING_MATCH' | 'SPLIT';
export type RuleName = 'writes' | 'kill' | 'dual-write' | 'with-writes' | 'tenant' | 'target-percent' | 'shadow-percent' | 'stage';

export interface Evaluation {
  readonly key: string;
  readonly value: ReadStage | DualStage;
  readonly reason: Reason;
  readonly variant: string;
  readonly metadata: Readonly<Record<string, string | number | boolean>>;
}

export interface ReadDecision {
  readonly stage: ReadStage;
  readonly rule: RuleName;
  readonly reason: Reason;
  readonly bucket?: number;
}

/** For how long a value may be kept without asking again. */
export const FLAG_TTL_MS = 500;

/** `NAME.stage` is there where the application writes both stores. */
export function flagKeys(document: FlagDocument): readonly string[] {
  const [reads, writes, stage] = keysOf(document.name);
  return [reads, writes, ...(stageOf(document) === undefined ? [] : [stage])];
}

function keysOf(name: string): readonly [reads: string, writes: string, stage: string] {
  return [`${name}.reads`, `${name}.writes`, `${name}.stage`];
}

/** Of dual writes; undefined: none was ever set. */
export function stageOf({ rules, serves }: Pick<FlagDocument, 'rules' | 'serves'>): DualStage | undefined {
  return rules?.dual === undefined ? undefined : stageThatHolds(rules.dual, serves);
}

/** Undefined: there is no such flag. */
export function evaluate(document: FlagDocument, key: string, context: EvaluationContext): Evaluation | undefined {
  const [reads, writes, stage] = keysOf(document.name);
  const wave = waveOf(document, context);
  const serves = wave?.serves ?? document.serves;
  const about = { document, key, wave };
  const dual = stageOf(document);
  if (key === stage && dual !== undefined) {
    const evaluation = answer(about, decideRead(document, context));
    return { ...evaluation, value: dual, variant: dual, reason: 'STATIC' };
  }
  if (key === writes) return answer(about, { stage: serves, rule: 'writes', reason: wave === undefined ? 'STATIC' : 'TARGETING_MATCH' });
  return key === reads ? answer(about, decideRead(document, context)) : undefined;
}

/** The one that the context belongs to. Undefined: the migration has none, or none of them has the unit. */
export function waveOf({ waves }: Pick<FlagDocument, 'waves'>, { tenant, targetingKey, table }: EvaluationContext): WaveFlags | undefined {
  if (waves === undefined) return undefined;
  const name = table === undefined ? undefined : qualified(table);
  const ofTable = name && waves.find(({ tables = [] }) => tables.some((pattern) => isTableOf(pattern, name)));
  if (ofTable) return ofTable;
  const whole = waves.filter(({ tables }) => tables === undefined);
  for (const unit of [tenant, targetingKey]) {
    const found = unit === undefined ? undefined : whole.find(({ units }) => units !== '*' && units.includes(unit));
    if (found !== undefined) return found;
  }
  return (tenant ?? targetingKey) === undefined ? undefined : whole.find(({ units }) => units === '*');
}

interface Asked {
  readonly document: FlagDocument;
  readonly key: string;
  readonly wave: WaveFlags | undefined;
}

function answer({ document, key, wave }: Asked, { stage, rule, reason, bucket }: ReadDecision): Evaluation {
  const serves = wave?.serves ?? document.serves;
  const rate = stage === 'shadow' ? 1 : 0;
  return {
    key,
    value: stage,
    reason,
    variant: stage,
    metadata: {
      epoch: document.epoch,
      version: versionOf(document),
      read_from: answeringSide(stage, serves),
      write_to: serves,
      rule,
      ...(wave !== undefined && { wave: wave.name }),
      shadow_rate: rate,
      check_rate: rate,
      ttl_ms: FLAG_TTL_MS,
      ...(bucket !== undefined && { bucket }),
    },
  };
}

export function decideRead(document: FlagDocument, context: EvaluationContext): ReadDecision {
  const wave = waveOf(document, context);
  const { rules, serves } = wave === undefined ? document : documentOf(document, wave);
  if (rules?.kill === true) return { stage: serves, rule: 'kill', reason: 'STATIC' };
  const dual = stageOf(document);
  if (dual !== undefined) {
    const { answers, compares } = stageBehaviour(dual);
    return { stage: compares ? 'shadow' : answers, rule: 'dual-write', reason: 'STATIC' };
  }
  if (rules === undefined || rules.followsWrites) return { stage: serves, rule: 'with-writes', reason: 'STATIC' };
  const own = context.table === undefined ? undefined : at(rules.tables, qualified(context.table));
  return decideBy(own ?? rules.all, rules.salt, context);
}

function decideBy(set: RuleSet, salt: string, { targetingKey, tenant }: EvaluationContext): ReadDecision {
  for (const unit of [tenant, targetingKey]) {
    const stage = unit === undefined ? undefined : at(set.tenants, unit);
    if (stage !== undefined) return { stage, rule: 'tenant', reason: 'TARGETING_MATCH' };
  }
  if (set.targetPercent >= 100) return { stage: 'target', rule: 'target-percent', reason: 'STATIC' };
  if (targetingKey !== undefined && (set.targetPercent > 0 || set.shadowPercent > 0)) {
    const bucket = bucketOf(salt, targetingKey);
    if (isWithin(bucket, set.targetPercent)) return { stage: 'target', rule: 'target-percent', reason: 'SPLIT', bucket };
    if (set.stage !== 'target' && isWithin(bucket, set.shadowPercent))
      return { stage: 'shadow', rule: 'shadow-percent', reason: 'SPLIT', bucket };
    return { stage: set.stage, rule: 'stage', reason: 'SPLIT', bucket };
  }
  return { stage: set.stage, rule: 'stage', reason: 'STATIC' };
}

/** A unit may have the name of something that every object has. */
function at<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
