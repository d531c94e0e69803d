/** What mapping costs a row. */
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { UserFunctions } from '#schemas/mapping/steps/user-function.ts';
import { decodeRelation } from '#schemas/pgoutput/message.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import { bindRelation, type BoundRelation } from '#services/sink/bind-relation.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { seeded } from '#test/support/random.ts';
import { insertFrame, relationFrame } from '#test/support/sink-frames.ts';
import { measureRounds, quantile } from '../mapping/fold-cost.ts';
import { customerRow, SLOW_STEP, SOURCE_SQL, TARGET_SQL, TEN_STEPS } from '../mapping/ten-steps.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

/** The small form runs beside other tests. */
const STEPS_MICROS_MAX = { small: 25, full: 5 };
const IDENTITY_SLACK = { small: 0.5, full: 0 };
const SLOW_MICROS = 60;
const RED_TIMES = 10;

/** Rows that differ, which come again and again: what is kept of them is what a cache keeps of any. */
const ROWS = 5_000;
const SAME = '  - from: public.*\n';

const costProof: Proof = {
  name: 'mapping-cost',
  claim: 'the identity mapping costs a row nothing measurable, and ten steps of the usual kinds less than 5 µs',
  expectedSeconds: 60,
  needsQuiet: true,
  run: async (context) => measure(context, { identity: SAME, steps: TEN_STEPS }),
};

const slowStepProof: Proof = {
  name: 'mapping-cost-red',
  claim: 'a step that takes its time, and a copy that pretends to be none, are seen as such',
  expectedSeconds: 10,
  run: async (context) => {
    const small = { ...context, size: 'small' } as const;
    const slow = await refused(small, { identity: SAME, steps: `${TEN_STEPS}${SLOW_STEP}` }, 'steps cost');
    const copied = await refused(small, { identity: `${SAME}    set: { mail: { from: mail } }\n`, steps: SAME }, 'identity mapping costs');
    return { 'slow step': slow, 'copy by a step': copied };
  },
};

/** Measured again where another process made more noise than the cost looked for. @throws Error when it is never seen */
async function refused(context: ProofContext, mappings: Measured, why: string): Promise<string> {
  const said: string[] = [];
  for (let time = 0; time < RED_TIMES; time++) {
    const refusal = await measure(context, mappings).then(
      (figures) => `nothing was refused: ${JSON.stringify(figures)}`,
      (error: unknown) => String(error),
    );
    if (refusal.includes(why)) return refusal;
    said.push(refusal);
  }
  throw new Error(`not seen: ${said.join(' / ')}`);
}

interface Measured {
  readonly identity: string;
  readonly steps: string;
}

/** @throws with the figures when identity or steps cost too much */
async function measure({ size, seed }: ProofContext, mappings: Measured): Promise<Figures> {
  const [source, target] = [await catalogOf(SOURCE_SQL), await catalogOf(TARGET_SQL)];
  const table = source.tables[0]!;
  const none = unmapped(table, bound(SAME, source, source));
  const random = seeded(seed);
  const messages = Array.from({ length: ROWS }, (_, i) => insertFrame(table.oid, customerRow(random, i)));
  const steps = bound(mappings.steps, source, mappings.steps === SAME ? source : target);
  const { costs, yard } = measureRounds([none, { ...none }, bound(mappings.identity, source, source), steps], {
    messages,
    rows: size === 'full' ? 50_000 : ROWS,
    rounds: size === 'full' ? 41 : 9,
  });
  const [noneCosts, againCosts, identityCosts, stepCosts] = costs as [number[], number[], number[], number[]];
  const ratios = (own: readonly number[]): number[] => own.map((cost, i) => cost / noneCosts[i]!);
  // What the same work costs when it is measured twice is what measuring cannot tell apart.
  const noise = quantile(ratios(againCosts), 0.9);
  const identity = quantile(ratios(identityCosts), 0.5);
  // Whatever else runs on the machine only adds: the quietest round of each is what the work costs.
  const micros = Math.min(...stepCosts) - Math.min(...noneCosts);
  // The machine's own pace: a limit in microseconds says nothing of a mapping on one that takes twice as long for everything.
  const paceMicros = Math.min(...yard);
  const figures = {
    rounds: noneCosts.length,
    'no mapping, µs a row': rounded(quantile(noneCosts, 0.5)),
    'identity to no mapping': rounded(identity),
    'no mapping to itself, 9 of 10 rounds below': rounded(noise),
    'ten steps, µs a row': rounded(micros),
    'ten steps, median': rounded(
      quantile(
        stepCosts.map((cost, i) => cost - noneCosts[i]!),
        0.5,
      ),
    ),
    "yardstick (Node's own JSON.parse, normalize, SHA-256 and write of one row), µs": rounded(paceMicros),
    'ten steps, in yardsticks': rounded(micros / paceMicros),
  };
  if (identity > noise + IDENTITY_SLACK[size])
    throw failure(`the identity mapping costs ${rounded(identity)} times as much as none`, figures);
  if (micros > STEPS_MICROS_MAX[size]) throw failure(`the steps cost ${rounded(micros)} µs a row`, figures);
  return figures;
}

function failure(message: string, figures: Figures): Error {
  return Object.assign(new Error(`${message}: ${JSON.stringify(figures)}`), { figures });
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** A function of the user's that computes for a while. */
const SLOW: UserFunctions = new Map([
  [
    './slow.ts#slow',
    {
      digest: 'slow',
      call: () => {
        const until = performance.now() + SLOW_MICROS / 1000;
        while (performance.now() < until);
        return 'slow';
      },
    },
  ],
]);

function bound(tables: string, source: Catalog, target: Catalog): BoundRelation {
  const { mapping, findings } = compileMapping({ ...fileOf(tables), functions: SLOW }, source, target);
  if (mapping === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
  return bindRelation(decodeRelation(relationFrame(source.tables[0]!)), mapping.tables[0]!);
}

/** What a pipeline without any mapping would go by: the stream's own columns, in their places. */
function unmapped(table: CatalogTable, { relation, table: mapped }: BoundRelation): BoundRelation {
  const key = Int32Array.of(table.columns.findIndex(({ name }) => name === 'id'));
  const layout = { columns: Int32Array.from(table.columns, (_, i) => i), key };
  return { relation, table: mapped, layout, passes: undefined, image: undefined };
}

export const MAPPING_COST_PROOFS: readonly Proof[] = [costProof, slowStepProof];
