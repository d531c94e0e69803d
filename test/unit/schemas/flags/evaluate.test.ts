import { describe, expect, test } from 'vitest';
import { bucketOf, isWithin } from '#schemas/flags/bucket.ts';
import { DUAL_STAGES, type DualStage, stageBehaviour } from '#schemas/flags/dual-stages.ts';
import { decideRead, evaluate, type EvaluationContext } from '#schemas/flags/evaluate.ts';
import { compareAge, type FlagDocument, saysOther, versionOf } from '#schemas/flags/flag-document.ts';
import { flagDocumentSchema } from '#schemas/flags/flag-schema.ts';
import {
  answeringSide,
  changeRules,
  type ReadRules,
  type ReadsValue,
  readsOf,
  type RulesChange,
  rulesAfterFlip,
  type Side,
} from '#schemas/flags/read-rules.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const SALT = 'salt';
const UNITS = Array.from({ length: 2_000 }, (_each, i) => `unit-${i}`);

function documentOf(rules: ReadRules | undefined, serves: Side = 'source'): FlagDocument {
  return { name: 'shop', epoch: 3, state: 7, serves, ...(rules !== undefined && { rules }) };
}

function after(...changes: readonly RulesChange[]): ReadRules {
  return changes.reduce<ReadRules | undefined>((rules, change) => changeRules(rules, change, SALT), undefined)!;
}

function reads(value: ReadsValue, where: { readonly tenant?: string; readonly table?: string } = {}): RulesChange {
  return { kind: 'reads', reads: value, ...where };
}

function stageOf(rules: ReadRules | undefined, targetingKey?: string, more: object = {}): string {
  return decideRead(documentOf(rules), { ...(targetingKey !== undefined && { targetingKey }), ...more }).stage;
}

describe('values', () => {
  test('without rules reads follow writes, and so they do when rules are given up', () => {
    expect(stageOf(undefined, 'acme')).toBe('source');
    expect(decideRead(documentOf(undefined, 'target'), {})).toEqual({ stage: 'target', rule: 'with-writes', reason: 'STATIC' });
    const given = after(reads('shadow'), { kind: 'follow-writes' });
    expect(stageOf(given, 'acme')).toBe('source');
    expect(given.version).toBe(2);
  });

  test('both flags as OFREP tells them: value, reason, variant and flat metadata', () => {
    const document = documentOf(after(reads('target', { tenant: 'acme' })));
    expect(evaluate(document, 'shop.reads', { targetingKey: 'acme' })).toEqual({
      key: 'shop.reads',
      value: 'target',
      reason: 'TARGETING_MATCH',
      variant: 'target',
      metadata: {
        epoch: 3,
        version: 1,
        read_from: 'target',
        write_to: 'source',
        rule: 'tenant',
        shadow_rate: 0,
        check_rate: 0,
        ttl_ms: 500,
      },
    });
    expect(evaluate(document, 'shop.writes', { targetingKey: 'acme' })).toMatchObject({ value: 'source', reason: 'STATIC' });
    expect(evaluate(document, 'other.reads', {})).toBeUndefined();
  });

  test('the order: kill, the table’s own rules, tenants, target percent, shadow percent, stage', () => {
    const rules = after(
      reads('shadow'),
      reads('source', { tenant: 'late' }),
      reads('target', { table: 'orders' }),
      reads({ targetPercent: 100 }),
    );
    expect(stageOf(rules, 'any')).toBe('target');
    expect(stageOf(rules, 'late')).toBe('source');
    expect(stageOf(rules, 'user-7', { tenant: 'late' })).toBe('source');
    // The table's rules began as a copy of those of all tables.
    expect(stageOf(rules, 'late', { table: 'public.orders' })).toBe('source');
    expect(stageOf(changeRules(rules, { kind: 'kill', kill: true }, SALT), 'any', { table: 'orders' })).toBe('source');
    const back = after(reads('target', { table: 'orders' }), reads('default', { table: 'public.orders' }));
    expect(stageOf(back, 'any', { table: 'orders' })).toBe('source');
  });

  test('who has no name gets what holds for everybody, and no percentage', () => {
    expect(stageOf(after(reads({ targetPercent: 99 })))).toBe('source');
    expect(stageOf(after(reads('shadow'), reads({ targetPercent: 99 })))).toBe('shadow');
    expect(stageOf(after(reads({ targetPercent: 100 })))).toBe('target');
  });

  test('names that every object has are names like others', () => {
    const rules = after(reads('target', { tenant: 'x' }));
    for (const name of ['constructor', '__proto__', 'toString']) expect(stageOf(rules, name, { table: name })).toBe('source');
    expect(stageOf(after(reads('target', { tenant: 'constructor' })), 'constructor')).toBe('target');
  });

  test('a percentage is of nobody in particular, and between 0 and 100', () => {
    expect(() => after(reads({ targetPercent: 5 }, { tenant: 'acme' }))).toThrow(RangeError);
    for (const percent of [-1, 101, Number.NaN]) expect(() => after(reads({ targetPercent: percent }))).toThrow(RangeError);
  });
});

describe('buckets', () => {
  test('are what the documentation says, for who computes them in another language (these by Python)', () => {
    expect(bucketOf('salt', 'acme')).toBe(3_686);
    expect(bucketOf('', 'Zürich')).toBe(3_156);
  });

  test('a ramp only adds units, at every step, and takes about as many as it says', () => {
    const seed = seedFromEnvironment();
    const random = seeded(seed);
    let before = new Set<string>();
    let percent = 0;
    while (percent < 100) {
      percent = Math.min(100, percent + random.between(1, 900) / 100);
      const rules = after(reads({ shadowPercent: 100 }), reads({ targetPercent: percent }));
      const now = new Set(UNITS.filter((unit) => stageOf(rules, unit) === 'target'));
      expect(
        [...before].filter((unit) => !now.has(unit)),
        `seed ${seed}, ${percent} %`,
      ).toEqual([]);
      expect(Math.abs(now.size / UNITS.length - percent / 100)).toBeLessThan(0.05);
      before = now;
    }
    expect(before.size).toBe(UNITS.length);
  });

  test('who is shadowed first moves first', () => {
    const shadowed = after(reads({ shadowPercent: 20 }));
    const moved = changeRules(shadowed, reads({ targetPercent: 10 }), SALT);
    const units = (rules: ReadRules, stage: string): string[] => UNITS.filter((unit) => stageOf(rules, unit) === stage);
    expect(units(shadowed, 'shadow')).toEqual(expect.arrayContaining(units(moved, 'target')));
    expect(units(moved, 'target').length + units(moved, 'shadow').length).toBe(units(shadowed, 'shadow').length);
  });

  test('another salt puts units elsewhere, and the hundredth of a percent counts', () => {
    expect(UNITS.filter((unit) => bucketOf('a', unit) === bucketOf('b', unit)).length).toBeLessThan(20);
    expect([isWithin(1, 0.01), isWithin(0, 0.01), isWithin(0, 0), isWithin(9_999, 100)]).toEqual([false, true, false, true]);
  });
});

function randomChange(random: Random): RulesChange {
  const pick = <T>(values: readonly T[]): T => values[random.between(0, values.length - 1)]!;
  if (random.chance(0.1)) return { kind: 'kill', kill: random.chance(0.5) };
  if (random.chance(0.05)) return { kind: 'follow-writes' };
  const table = random.chance(0.3) ? { table: pick(['a', 'public.b']) } : {};
  const stage = pick(['source', 'shadow', 'target', 'default'] as const);
  if (random.chance(0.3)) return reads(stage, { ...table, tenant: pick(['unit-1', 'unit-2']) });
  const value = pick<ReadsValue>([stage, { targetPercent: random.between(0, 100) }, { shadowPercent: random.between(0, 100) }]);
  return reads(value, table);
}

test('any changes: the version only rises, the salt stays, what comes out is a document, and readsOf says who can be answered by whom', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  let rules: ReadRules | undefined;
  for (let i = 0; i < 400; i++) {
    const serves = random.chance(0.5) ? 'source' : 'target';
    const next = changeRules(rules, randomChange(random), `${SALT}${i}`);
    expect(compareAge(documentOf(next, serves), documentOf(rules, serves)), `seed ${seed}`).toBe(1);
    if (rules !== undefined) expect(next.salt).toBe(rules.salt);
    const document = documentOf(next, serves);
    expect(flagDocumentSchema.parse(JSON.parse(JSON.stringify(document)))).toEqual(document);
    const said = readsOf(next, serves);
    const seen = new Set(
      UNITS.slice(0, 300).flatMap((targetingKey) =>
        ['a', 'b', 'c'].map((table) => answeringSide(decideRead(document, { targetingKey, table }).stage, serves)),
      ),
    );
    if (said !== 'mixed') expect([...seen], `seed ${seed}, change ${i}`).toEqual([said]);
    rules = next;
  }
});

test('a flip ends the stage that was set while the other store served, and leaves every other rule', () => {
  const staged = (stage: DualStage): ReadRules => after(reads({ targetPercent: 40 }), { kind: 'stage', stage });
  for (const stage of DUAL_STAGES) {
    const isOfSource = stageBehaviour(stage).answers === 'source';
    const rules = staged(stage);
    const other = { ...rules, version: rules.version + 1 };
    expect(rulesAfterFlip(rules, 'target')).toEqual(isOfSource ? { ...other, dual: 'live' } : undefined);
    expect(rulesAfterFlip(rules, 'source')).toEqual(isOfSource ? undefined : { ...other, dual: 'shadow' });
  }
  expect(rulesAfterFlip(after(reads({ targetPercent: 40 })), 'target')).toBeUndefined();
});

describe('waves', () => {
  const document: FlagDocument = {
    ...documentOf(undefined),
    waves: [
      { name: 'acme', units: ['acme'], serves: 'target' },
      { name: 'eu', units: ['globex', 'initech'], serves: 'source', rules: after(reads('target', { tenant: 'initech' })) },
      { name: 'rest', units: '*', serves: 'target' },
      { name: 'shared', units: [], tables: ['public.currenc*'], serves: 'source' },
    ],
  };
  const writes = (context: EvaluationContext): unknown => evaluate(document, 'shop.writes', context)?.value;

  test('a unit gets what its wave says: the tenant before the user, the table that belongs to nobody before both', () => {
    expect([{ targetingKey: 'acme' }, { targetingKey: 'ada', tenant: 'globex' }, { targetingKey: 'umbrella' }, {}].map(writes)).toEqual([
      'target',
      'source',
      'target',
      'source',
    ]);
    expect(writes({ tenant: 'acme', table: 'currency' })).toBe('source');
    expect(decideRead(document, { targetingKey: 'initech' }).stage).toBe('target');
    expect(evaluate(document, 'shop.reads', { targetingKey: 'acme' })?.metadata).toMatchObject({ wave: 'acme', write_to: 'target' });
  });

  test('pass the schema, and tell of each wave that changed', () => {
    expect(flagDocumentSchema.parse(document)).toEqual(document);
    const [acme, ...others] = document.waves!;
    const moved = { ...document, state: document.state + 1, waves: [{ ...acme!, serves: 'source' as const }, ...others] };
    expect([compareAge(moved, document) > 0, saysOther(document, moved), versionOf(document)]).toEqual([true, true, 1]);
  });
});
