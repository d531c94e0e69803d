/** What the demo was asked to do. */
import { parseArgs } from 'node:util';
import { FULL_SHOP, SMALL_SHOP, type ShopSize } from './shop/load.ts';

export interface DemoOptions {
  readonly seed: number;
  readonly size: ShopSize;
  readonly writers: number;
  readonly transactionsPerSecond: number;
  /** Rows per second that the copy may read; slow enough for the kill to strike within it. */
  readonly copyRowsPerSecond: number;
  /** How long changes are followed before the second kill, and again after the restart. */
  readonly followSeconds: number;
  readonly keep: boolean;
  /** Print the summary as one JSON object on stdout, the story on stderr. */
  readonly json: boolean;
}

export const USAGE = `npm run demo [-- OPTIONS]
  --keep       keep everything running to play with, until Ctrl-C
  --small      a small shop: about half a minute
  --seed N     the seed of a run printed before
  --json       the summary as JSON on stdout`;

export function readOptions(argv: readonly string[], random: () => number): DemoOptions {
  const flag = { type: 'boolean' } as const;
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { keep: flag, small: flag, json: flag, seed: { type: 'string' } },
  });
  const strange = positionals.find((word) => word !== 'play');
  if (strange !== undefined) throw new TypeError(`unknown argument ${JSON.stringify(strange)}`);
  const small = values.small ?? false;
  return {
    seed: readSeed(values.seed) ?? Math.floor(random() * 1_000_000),
    size: small ? SMALL_SHOP : FULL_SHOP,
    writers: 4,
    transactionsPerSecond: small ? 150 : 250,
    copyRowsPerSecond: small ? 5_000 : 30_000,
    followSeconds: small ? 1.5 : 6,
    keep: (values.keep ?? false) || positionals.includes('play'),
    json: values.json ?? false,
  };
}

function readSeed(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seed = Number(text);
  if (!Number.isInteger(seed) || seed < 0) throw new TypeError(`--seed takes a whole number, not ${JSON.stringify(text)}`);
  return seed;
}
