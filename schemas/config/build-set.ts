/**
 * `tables[].set` as the mapping compiler takes it. Guarantee: each step knows its place, what came out of the environment is marked, and a key
 * that stands in the file itself is found, whatever else is wrong with the file.
 */
import type { z } from 'zod';
import type { SetEntry } from './migration-file.ts';
import type { setEntries } from './step-schema.ts';
import type { Path, YamlSource } from './yaml-source.ts';

type ParsedSet = z.output<typeof setEntries>;

export function buildSet(parsed: ParsedSet, at: Path, source: YamlSource): Record<string, SetEntry> {
  const entries: Record<string, SetEntry> = {};
  for (const [name, entry] of Object.entries(parsed)) {
    const steps = entry.steps.map((step, i) => {
      const place = [...at, name, 'steps', i];
      return { step, ...hidden(source, place), ...source.valuePlace(place) };
    });
    const { value, from = [] } = entry;
    const built: SetEntry = {
      from,
      ...(value !== undefined && { value }),
      ...hidden(source, [...at, name, 'value']),
      steps,
      ...source.keyPlace([...at, name]),
    };
    Object.defineProperty(entries, name, { value: built, enumerable: true, configurable: true, writable: true });
  }
  return entries;
}

/** The mark of what came out of the environment. */
export function hidden(source: YamlSource, at: Path): { readonly fromEnvironment?: true } {
  return source.holdsSecret(at) ? { fromEnvironment: true } : {};
}

const KEYED = ['hmac', 'tokenise'] as const;

/** Places of keys that are written out, in a file that may be wrong in any other way. */
export function keysWrittenOut(source: YamlSource): Path[] {
  return listOf(entryOf(source.value, 'tables')).flatMap((table, i) =>
    Object.entries(blockOf(entryOf(table, 'set'))).flatMap(([name, set]) =>
      listOf(entryOf(set, 'steps')).flatMap((step, j) =>
        KEYED.map((kind): Path => ['tables', i, 'set', name, 'steps', j, kind, 'key']).filter(
          (path) => typeof entryOf(entryOf(step, String(path.at(-2))), 'key') === 'string' && !source.isSecret(path),
        ),
      ),
    ),
  );
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function blockOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function entryOf(value: unknown, key: string): unknown {
  const block = blockOf(value);
  return Object.hasOwn(block, key) ? block[key] : undefined;
}
