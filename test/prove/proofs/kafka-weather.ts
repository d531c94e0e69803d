import type { LedgerFigures } from '../kill/ledger.ts';
import { runShop } from '../kafka/run-shop.ts';
import { runOutage } from '../kafka/run-outage.ts';
import { runStorm } from '../kafka/run-storm.ts';
import type { Figures, Proof } from '../proof.ts';

const STORM = { full: { seconds: 120, rows: 30_000 }, small: { seconds: 15, rows: 6_000 } };
const OUTAGE = { full: { seconds: 60, rows: 30_000 }, small: { seconds: 6, rows: 6_000 } };

export const kafkaStormProof: Proof = {
  name: 'kafka-rebalance-storm',
  claim: 'transformers and sinks join and leave every few seconds for two minutes under load: equal, exactly once',
  expectedSeconds: 200,
  run: async ({ size, seed, say }) => {
    const { joined, left, killed, rowsCompared, ledger } = await runStorm({ ...STORM[size], seed, say });
    return { joined, left, killed, 'rows equal at the end': rowsCompared, ...judged(ledger) };
  },
};

export const kafkaOutageProof: Proof = {
  name: 'kafka-outage',
  claim: 'the broker is away for 60 s under load: nothing lost, the growth of the WAL is seen in the metrics, and it catches up by itself',
  expectedSeconds: 150,
  run: async ({ size, seed, say }) => {
    const report = await runOutage({ ...OUTAGE[size], seed, say });
    if (report.retainedBytesMost <= report.retainedBytesBefore)
      throw new Error(
        `the metrics did not show the WAL grow: ${report.retainedBytesBefore} bytes before, ${report.retainedBytesMost} at most`,
      );
    return {
      'WAL held before, bytes': report.retainedBytesBefore,
      'WAL held at most, bytes': report.retainedBytesMost,
      'caught up after, s': report.caughtUpSeconds,
      'rows equal at the end': report.rowsCompared,
      ...judged(report.ledger),
    };
  },
};

export const kafkaShopProof: Proof = {
  name: 'kafka-shop',
  claim:
    "the demo's shop moves table by table over Kafka with three partitions, two transformers and two sinks, through kills: verify finds 0 differences",
  expectedSeconds: 120,
  run: async ({ size, seed, say }) => {
    const report = await runShop({ size, seed, kills: size === 'full' ? 10 : 3, say });
    return { transactions: report.transactions, kills: report.kills, 'rows compared': report.rowsCompared, differences: 0 };
  },
};

/** @throws Error when something was committed twice, or nothing was there to be judged */
function judged(ledger: LedgerFigures): Figures {
  if (ledger.strictOps === 0) throw new Error('the ledger holds nothing of the stream: nothing was proved');
  if (ledger.committedTwice.length > 0) throw new Error(`committed twice:\n${ledger.committedTwice.join('\n')}`);
  return { 'streamed positions judged': ledger.strictOps, 'committed twice': 0 };
}
