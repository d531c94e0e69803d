import { COUNTED_GROUPS, type KillReport, runKills } from '../kill/run-kills.ts';
import { CHUNK_ROWS } from '../kill/tables.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

const FULL = { kills: 100, rows: 120_000, perGroup: 10 };
const SMALL = { kills: 12, rows: 24_000, perGroup: 1 };

/** Few: what is looked for comes after the copy. */
const RED_ROWS = 5_000;

/** Chunks read at the same time, by the proof's own file. */
const IN_FLIGHT = 2;

export const killProof: Proof = {
  name: 'kill-100',
  claim: '100 SIGKILLs at random moments under load: nothing lost, nothing of the stream committed twice',
  expectedSeconds: 240,
  run: async (context) => {
    const size = context.size === 'full' ? FULL : SMALL;
    const report = await runKills({ kills: size.kills, rows: size.rows, seed: context.seed, compare: true, say: context.say });
    judge(report, size.perGroup);
    return figures(report);
  },
};

/** The same with the duplicate rule switched off: the ledger must show it, or the proof above proves nothing. */
export const killRedProof: Proof = {
  name: 'kill-100-is-red-without-duplicate-rule',
  claim: 'with the duplicate rule switched off, the same ledger shows positions committed twice',
  expectedSeconds: 120,
  run: async (context: ProofContext) => {
    const report = await runKills({
      kills: context.size === 'full' ? 30 : 12,
      // The ledger judges what follows the copy.
      copyingPart: 0.1,
      rows: RED_ROWS,
      seed: context.seed,
      compare: false,
      env: { CROSSFADE_TEST_DISABLE: 'duplicate' },
      say: context.say,
    });
    if (report.ledger.committedTwice.length === 0)
      throw new Error('nothing was committed twice though the duplicate rule was off: the ledger does not guard it');
    return { ...figures(report), example: report.ledger.committedTwice[0] ?? '' };
  },
};

function judge(report: KillReport, perGroup: number): void {
  const { ledger } = report;
  if (ledger.committedTwice.length > 0) throw new Error(`committed twice:\n${ledger.committedTwice.join('\n')}`);
  const few = COUNTED_GROUPS.filter((group) => report.struck[group] < perGroup);
  if (few.length > 0)
    throw new Error(
      `struck too seldom to count: ${few.map((group) => `${group} ${report.struck[group]}`).join(', ')} (${perGroup} wanted each)`,
    );
  const most = report.kills * IN_FLIGHT * CHUNK_ROWS * GROWTH_MAX;
  if (ledger.repeatedChunkRows > most)
    throw new Error(`${ledger.repeatedChunkRows} chunk rows came again: more than ${most}, the chunks in flight at ${report.kills} kills`);
}

/** Chunks adapt to their time target; they may grow so much. */
const GROWTH_MAX = 8;

function figures(report: KillReport): Figures {
  return {
    kills: report.kills,
    ...Object.fromEntries(Object.entries(report.struck).map(([group, count]) => [`struck ${group}`, count])),
    'planned places not reached': report.missed,
    'kills during the copy': report.duringCopy,
    'rows equal at the end': report.rowsCompared,
    'row versions in the ledger': report.ledger.entries,
    'streamed positions judged': report.ledger.strictOps,
    'committed twice': report.ledger.committedTwice.length,
    'chunk rows that came again': report.ledger.repeatedChunkRows,
    'most times one row came': report.ledger.deliveriesMax,
  };
}
