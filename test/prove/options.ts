/** What `npm run prove` was asked to do. */
import { parseArgs } from 'node:util';

export interface ProveOptions {
  readonly list: boolean;
  /** Empty: all. */
  readonly only: readonly string[];
  readonly again: boolean;
  readonly size: 'small' | 'full';
  /** No proof is begun that would probably not end within these seconds. */
  readonly budgetSeconds: number;
  readonly jsonFile: string | undefined;
  readonly seed: number | undefined;
  readonly stateDir: string;
}

export const USAGE = `npm run prove -- [--list] [--only NAME...] [--small] [--again] [--budget SECONDS] [--seed N] [--json FILE]`;

export function readOptions(argv: readonly string[]): ProveOptions {
  const flag = { type: 'boolean' } as const;
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      list: flag,
      only: { type: 'string', multiple: true },
      again: flag,
      small: flag,
      budget: text,
      json: text,
      report: text,
      seed: text,
      state: text,
    },
  });
  return {
    list: values.list ?? false,
    // `--only a b` and `--only a --only b` mean the same.
    only: [...(values.only ?? []), ...positionals].flatMap((word) => word.split(',')),
    again: values.again ?? false,
    size: values.small ? 'small' : 'full',
    budgetSeconds: values.budget === undefined ? Number.POSITIVE_INFINITY : positive(values.budget, '--budget'),
    // `--report` is what CI says.
    jsonFile: values.json ?? values.report,
    seed: values.seed === undefined ? undefined : positive(values.seed, '--seed'),
    stateDir: values.state ?? '.crossfade-prove',
  };
}

function positive(text: string, name: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new TypeError(`${name} takes a number, not ${JSON.stringify(text)}`);
  return value;
}
