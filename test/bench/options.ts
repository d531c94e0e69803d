/** What a bench run does. Guarantee: every size can be set on the command line, and the result file holds the ones used. */
import { parseArgs } from 'node:util';

export const PARTS = ['copy', 'drain', 'latency'] as const;
export type Part = (typeof PARTS)[number];
export const BACKLOGS = ['tpcb', 'bulk', 'wide'] as const;
export type BacklogKind = (typeof BACKLOGS)[number];
export const CONTENDERS = ['native', 'crossfade', 'kafka', 'kafka-doubled', 'debezium'] as const;
export type ContenderName = (typeof CONTENDERS)[number];
const BY_DEFAULT: readonly ContenderName[] = ['native', 'crossfade'];
/** They share a broker, which is started for them. */
const OVER_KAFKA: readonly ContenderName[] = ['kafka', 'kafka-doubled', 'debezium'];
const BESIDE_DEBEZIUM: readonly ContenderName[] = ['kafka', 'debezium'];
/** `wide` says no more about Kafka than `bulk` does. */
const BACKLOGS_OVER_KAFKA: readonly BacklogKind[] = ['tpcb', 'bulk'];

export interface BenchOptions {
  /** What the dual writer costs, and nothing else. */
  readonly dualWrite: boolean;
  readonly parts: readonly Part[];
  readonly contenders: readonly ContenderName[];
  readonly backlogs: readonly BacklogKind[];
  readonly rounds: number;
  /** order_lines; orders are a quarter, customers a twentieth of it. */
  readonly lines: number;
  /** pgbench scale: 100,000 accounts each. */
  readonly scale: number;
  /** TPC-B transactions of a backlog: three updates and one insert each. */
  readonly transactions: number;
  /** order_lines touched by the one bulk UPDATE. */
  readonly bulkRows: number;
  /** Rows of about 2 kB rewritten by the wide backlog. */
  readonly wideRows: number;
  readonly rateTps: number;
  readonly latencySeconds: number;
  readonly sharedBuffers: string;
  readonly outDir: string;
  /** Extra entries of the migration file's `settings` level, as YAML text. */
  readonly settings: string;
  /** WITH (…) of CREATE SUBSCRIPTION; empty = the server's own defaults. */
  readonly subscription: string;
  /** Node flags for our process, for example --cpu-prof. */
  readonly nodeArgs: readonly string[];
  /** Take a CPU profile of our process in every drain (it costs some speed) and print where the time goes. */
  readonly profile: boolean;
}

const FULL = { rounds: 3, lines: 1_000_000, scale: 10, transactions: 75_000, bulk: 300_000, wide: 50_000, seconds: 30 };
/** Debezium's share of a run at these sizes is about five minutes. */
const KAFKA = { ...FULL, rounds: 1, lines: 300_000, scale: 5, wide: 1_000, seconds: 20 };
const QUICK = { rounds: 1, lines: 100_000, scale: 1, transactions: 7_500, bulk: 30_000, wide: 5_000, seconds: 6 };

export const USAGE = `npm run bench -- [--kafka | --dual-write] [--quick] [--rounds N] [--part copy,drain,latency] [--contender native,crossfade,kafka,kafka-doubled,debezium] [--backlog tpcb,bulk,wide]
  sizes: [--lines N] [--scale N] [--transactions N] [--bulk N] [--wide N] [--rate TPS] [--seconds N] [--shared-buffers 512MB]
  other: [--out DIR] [--settings YAML] [--subscription 'streaming = off'] [--node-arg FLAG]... [--profile]`;

export function readOptions(argv: readonly string[]): BenchOptions {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      kafka: flag,
      'dual-write': flag,
      quick: flag,
      profile: flag,
      rounds: text,
      part: text,
      contender: text,
      backlog: text,
      lines: text,
      scale: text,
      transactions: text,
      bulk: text,
      wide: text,
      rate: text,
      seconds: text,
      'shared-buffers': text,
      out: text,
      settings: text,
      subscription: text,
      'node-arg': { type: 'string', multiple: true },
    },
  });
  const contenders =
    values.contender === undefined ? (values.kafka === true ? BESIDE_DEBEZIUM : BY_DEFAULT) : choose(values.contender, CONTENDERS);
  const base = values.quick ? QUICK : needsKafka(contenders) ? KAFKA : FULL;
  return {
    dualWrite: values['dual-write'] ?? false,
    parts: choose(values.part, PARTS),
    contenders,
    backlogs: values.backlog === undefined && needsKafka(contenders) ? BACKLOGS_OVER_KAFKA : choose(values.backlog, BACKLOGS),
    rounds: count(values.rounds, base.rounds),
    lines: count(values.lines, base.lines),
    scale: count(values.scale, base.scale),
    transactions: count(values.transactions, base.transactions),
    bulkRows: count(values.bulk, base.bulk),
    wideRows: count(values.wide, base.wide),
    rateTps: count(values.rate, 500),
    latencySeconds: count(values.seconds, base.seconds),
    sharedBuffers: values['shared-buffers'] ?? '512MB',
    outDir: values.out ?? 'bench-results',
    settings: values.settings ?? '',
    subscription: values.subscription ?? '',
    nodeArgs: values['node-arg'] ?? [],
    profile: values.profile ?? false,
  };
}

export function needsKafka(contenders: readonly ContenderName[]): boolean {
  return contenders.some((name) => OVER_KAFKA.includes(name));
}

function choose<T extends string>(text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  return text.split(',').map((word) => {
    const found = all.find((one) => one === word);
    if (found === undefined) throw new TypeError(`unknown name ${JSON.stringify(word)}: one of ${all.join(', ')}`);
    return found;
  });
}

function count(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`not a positive whole number: ${JSON.stringify(text)}`);
  return value;
}
