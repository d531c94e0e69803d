/**
 * What it costs this process to take a row's change to its target row: the sink's own fold, fed with the stream's bytes. Guarantee: all contenders
 * fold the same rows, they take turns within each round so that a busy machine weighs on all alike, and every round is told, not the best.
 */
import { createHash } from 'node:crypto';
import type { BoundRelation } from '#services/sink/bind-relation.ts';
import { TableFold } from '#services/sink/table-fold.ts';

export interface CostOptions {
  /** Inserts, as pgoutput sends them. */
  readonly messages: readonly Buffer[];
  readonly rows: number;
  readonly rounds: number;
}

const CLOCK = { time: 0n };

/** @returns microseconds of this process's CPU a row, the engine's helpers (its garbage collector) included. */
function foldOnce(bound: BoundRelation, messages: readonly Buffer[], rows: number): number {
  const before = process.cpuUsage();
  for (let done = 0; done < rows; done += messages.length) {
    const fold = new TableFold(bound, true, CLOCK);
    for (const message of messages) fold.add(bound, message, 0);
    if (fold.size !== messages.length || fold.unmapped.size > 0) throw new Error(`${fold.unmapped.size} rows were refused`);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / rows;
}

const WARM_UP_ROUNDS = 3;
const YARD_ROWS = 5_000;

export interface RoundCosts {
  /** For each contender, its microseconds a row in each round. */
  readonly costs: readonly (readonly number[])[];
  /** Of the same rounds: the machine's, not ours. */
  readonly yard: readonly number[];
}

export function measureRounds(contenders: readonly BoundRelation[], { messages, rows, rounds }: CostOptions): RoundCosts {
  const yard: number[] = [];
  const costs = contenders.map((): number[] => []);
  for (let round = 0; round < WARM_UP_ROUNDS + rounds; round++) {
    const measured = yardstick(YARD_ROWS);
    if (round >= WARM_UP_ROUNDS) yard.push(measured);
    for (let turn = 0; turn < contenders.length; turn++) {
      // Nobody is always the one behind the slow one.
      const i = (turn + round) % contenders.length;
      const cost = foldOnce(contenders[i]!, messages, rows);
      if (round >= WARM_UP_ROUNDS) costs[i]!.push(cost);
    }
  }
  return { costs, yard };
}

/** Work of Node's own and none of ours, by which a figure in microseconds is to be read. @returns microseconds a row */
function yardstick(rows: number): number {
  const text = JSON.stringify(YARD);
  const out = Buffer.alloc(text.length * 2);
  let bytes = 0;
  const before = process.cpuUsage();
  for (let i = 0; i < rows; i++) {
    const row = JSON.parse(text) as typeof YARD;
    bytes += out.write(row.note.normalize('NFC')) + createHash('sha256').update(row.mail).digest('hex').length;
  }
  const { user, system } = process.cpuUsage(before);
  if (bytes === 0) throw new Error('nothing was done');
  return (user + system) / rows;
}

const YARD = {
  id: 1,
  name: 'Zoë van den Berg',
  mail: 'zoe.1@example.org',
  note: 'as it is, é',
  address: { zip: '12345', town: 'Zürich' },
  tags: ['a', 'b'],
};

/** Below which this part of the values lies. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}
