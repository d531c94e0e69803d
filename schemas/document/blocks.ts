/**
 * A document as headings, tables and lists, whatever form it is written in (render-document.ts): the plan, the report and the runbook. Guarantee: text,
 * and names or values as they stand somewhere, are told apart, so that neither is ever read as markup.
 */

/** Text, or a name or value as it stands in a file or catalogue. `strong`: not to be overlooked. `label`: what the text behind it is about. */
export type Inline = string | { readonly code: string } | { readonly strong: string } | { readonly label: string };
export type Line = readonly Inline[];

export type Block =
  | { readonly kind: 'heading'; readonly level: 1 | 2 | 3; readonly text: Line }
  | { readonly kind: 'text'; readonly text: Line }
  /** `check`: with a box before each, to be ticked on paper. */
  | { readonly kind: 'list'; readonly items: readonly Line[]; readonly mark?: 'number' | 'check' }
  /** Lines to be typed as they are. */
  | { readonly kind: 'commands'; readonly lines: readonly string[] }
  | {
      readonly kind: 'table';
      readonly head: readonly string[];
      readonly rows: readonly (readonly Line[])[];
      readonly right?: readonly number[];
    };

export function heading(level: 1 | 2 | 3, line: Line): Block {
  return { kind: 'heading', level, text: line };
}

export function text(line: Line): Block {
  return { kind: 'text', text: line };
}

export function table(head: readonly string[], rows: readonly (readonly Line[])[], right?: readonly number[]): Block {
  return { kind: 'table', head, rows, ...(right !== undefined && { right }) };
}

/** Nothing at all where there are no items. */
export function listed(title: string, items: readonly Line[]): Block[] {
  return items.length === 0 ? [] : [text([title]), { kind: 'list', items }];
}

export function code(name: string): Inline {
  return { code: name };
}

export function count(n: number, noun: string): string {
  return `${figure(n)} ${noun}${n === 1 ? '' : 's'}`;
}

export function figure(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function bytes(n: number): string {
  const unit = Math.min(UNITS.length - 1, n < 1024 ? 0 : Math.floor(Math.log2(n) / 10));
  const value = n / 1024 ** unit;
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

/** `820 ms`, `4.2 s`, `12 min 5 s`, `3 d 4 h`: two units at most. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([n]) => n > 0);
  return parts
    .slice(first, first + 2)
    .filter(([n]) => n > 0)
    .map(([n, unit]) => `${n} ${unit}`)
    .join(' ');
}

/** To the second, in UTC. */
export function shortTime(at: string): string {
  const match = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(at);
  return match === null ? at : `${match[1]} ${match[2]} UTC`;
}
