/** Spans of time as the file writes them: `30s`, `10min`, `72h`, `3d`. */
import { z } from 'zod';
import { expected } from './file-terms.ts';

const PATTERN = /^(\d+(?:\.\d+)?)\s*(s|min|h|d)$/;
const UNITS: Readonly<Record<string, number>> = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** In milliseconds; undefined for anything else. */
export function parseSpan(text: string): number | undefined {
  const match = PATTERN.exec(text);
  return match === null ? undefined : Math.round(Number(match[1]) * UNITS[match[2]!]!);
}

export interface SpanLimits {
  readonly minMs: number;
  readonly maxMs: number;
  /** Shown in messages. */
  readonly example: string;
}

export function span({ minMs, maxMs, example }: SpanLimits): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const what = `a time, for example ${example}`;
  return z
    .string(expected(what))
    .refine(
      (text) => {
        const ms = parseSpan(text);
        return ms !== undefined && ms >= minMs && ms <= maxMs;
      },
      { error: `expected ${what}` },
    )
    .transform((text) => parseSpan(text)!);
}
