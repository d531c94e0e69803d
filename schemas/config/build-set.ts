/** `tables[].set` as the mapping compiler takes it. Guarantee: each step knows its place, and a key never stands in the file itself. */
import type { z } from 'zod';
import type { SetEntry } from './migration-file.ts';
import { stepNames, type setEntries } from './step-schema.ts';
import type { Path, YamlSource } from './yaml-source.ts';

type ParsedSet = z.output<typeof setEntries>;

// oxlint-disable-next-line max-params -- as the other builders of the file
export function buildSet(
  parsed: ParsedSet,
  at: Path,
  source: YamlSource,
  wrong: (message: string, at: Path) => void,
): Record<string, SetEntry> {
  const entries: Record<string, SetEntry> = {};
  for (const [name, entry] of Object.entries(parsed)) {
    const steps = entry.steps.map((step, i) => {
      const place = [...at, name, 'steps', i];
      const [kind] = stepNames(step);
      const key = [...place, kind!, 'key'];
      if ((kind === 'hmac' || kind === 'tokenise') && !source.isSecret(key)) wrong('a key is given by reference only, as ${ENV}', key);
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
