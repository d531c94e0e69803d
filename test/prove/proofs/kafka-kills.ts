import type { Figures, Proof } from '../proof.ts';
import { runServiceKills, type ServiceKillReport } from '../kafka/run-service-kills.ts';

const FULL = { strikes: 67, rows: 60_000 };
const SMALL = { strikes: 8, rows: 12_000 };

/** Few: what is looked for comes after the copy. */
const RED_ROWS = 3_000;

export const kafkaKillProof: Proof = {
  name: 'kafka-kill-100',
  claim:
    'over Kafka with three partitions, two transformers and two sinks, 100 kills and stops spread over services and broker: nothing lost, nothing of the stream committed twice',
  expectedSeconds: 330,
  run: async (context) => {
    const size = context.size === 'full' ? FULL : SMALL;
    const report = await runServiceKills({ ...size, seed: context.seed, say: context.say });
    if (report.ledger.committedTwice.length > 0) throw new Error(`committed twice:\n${report.ledger.committedTwice.join('\n')}`);
    const { killed, ledger } = report;
    if (ledger.strictOps === 0) throw new Error('the ledger holds nothing of the stream: nothing was proved');
    if (context.size === 'full' && Math.min(killed.reader, killed.transformer, killed.sink) === 0)
      throw new Error(`not every service was killed: ${JSON.stringify(killed)}`);
    return figures(report);
  },
};

/** The same with the duplicate rule switched off: the ledger must show it, or the proof above proves nothing. */
export const kafkaKillRedProof: Proof = {
  name: 'kafka-kill-100-is-red-without-duplicate-rule',
  claim: 'over Kafka with the duplicate rule switched off, the same ledger shows positions committed twice',
  expectedSeconds: 60,
  run: async (context) => {
    const report = await runServiceKills({
      // The ledger judges what follows the copy, and it is the sink that takes again what it has taken.
      strikes: 0,
      following: context.size === 'full' ? 10 : 3,
      only: 'sink',
      rows: RED_ROWS,
      env: { CROSSFADE_TEST_DISABLE: 'duplicate' },
      compare: false,
      seed: context.seed,
      say: context.say,
    });
    if (report.ledger.committedTwice.length === 0)
      throw new Error('nothing was committed twice though the duplicate rule was off: the ledger does not guard it');
    return { ...figures(report), example: report.ledger.committedTwice[0] ?? '' };
  },
};

function figures({ killed, stunned, rowsCompared, ledger }: ServiceKillReport): Figures {
  const all = [...Object.values(killed), ...Object.values(stunned)].reduce((sum, n) => sum + n, 0);
  return {
    'kills and stops': all,
    ...Object.fromEntries(Object.entries(killed).map(([who, n]) => [`killed ${who}`, n])),
    ...Object.fromEntries(Object.entries(stunned).map(([who, n]) => [`stopped and woken ${who}`, n])),
    'rows equal at the end': rowsCompared,
    'row versions in the ledger': ledger.entries,
    'streamed positions judged': ledger.strictOps,
    'committed twice': ledger.committedTwice.length,
    'chunk rows that came again': ledger.repeatedChunkRows,
  };
}
