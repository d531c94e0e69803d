/**
 * Rows of one table by their keys, on both sides. Guarantee: a key is judged by the row that each side's session sees at this moment, in the form of the
 * mapping; whether these are of one state is the caller's to know.
 *
 * Digests first: they are what the sums of a whole comparison are made of, and only rows whose digests differ are read.
 */
import { digestsAt, rowsAt } from '#connectors/probe/postgres/computed-scan.ts';
import { isRow, rowsIn } from '#connectors/probe/postgres/exploded-rows.ts';
import { keyId } from '#connectors/probe/postgres/rows-by-key.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { DifferenceSample } from '#schemas/reconcile/verify-result.ts';
import { differencesOf, mapKeys, type BothScans, type KeyPair } from '../touched-rows.ts';

export interface JudgedKeys {
  readonly differences: readonly DifferenceSample[];
  readonly rowsSource: number;
  readonly rowsTarget: number;
}

interface KeyOnBoth {
  /** JSON text of the source's. */
  readonly key: string;
  readonly sourceKey: Texts;
  readonly targetKey: Texts;
}

/** @param keys JSON texts of the source's. */
export async function judgeKeys(scans: BothScans, keys: readonly string[]): Promise<JudgedKeys> {
  if (keys.length === 0) return { differences: [], rowsSource: 0, rowsTarget: 0 };
  const sourceKeys = keys.map((key) => JSON.parse(key) as Texts);
  const targetKeys = await mapKeys(scans, sourceKeys);
  const named = keys.map((key, i): KeyOnBoth => ({ key, sourceKey: sourceKeys[i]!, targetKey: targetKeys[i]! }));
  // A parent's children are counted in their text.
  if (scans.source.probe.mapping.explode !== undefined) return judgeRows(scans, named);
  const [here, there] = await Promise.all([digestsAt(scans.source, sourceKeys), digestsAt(scans.target, targetKeys)]);
  let [rowsSource, rowsTarget] = [0, 0];
  const suspects = named.filter(({ key, targetKey }) => {
    const found = here.get(key);
    const [source, target] = [found?.selected === true ? found : undefined, there.get(keyId(targetKey))];
    if (source !== undefined) rowsSource++;
    if (target !== undefined) rowsTarget++;
    return source?.hash !== target?.hash || source?.sum.a !== target?.sum.a || source?.sum.b !== target?.sum.b;
  });
  const { differences } = await judgeRows(scans, suspects);
  return { differences, rowsSource, rowsTarget };
}

async function judgeRows(scans: BothScans, keys: readonly KeyOnBoth[]): Promise<JudgedKeys> {
  if (keys.length === 0) return { differences: [], rowsSource: 0, rowsTarget: 0 };
  const { mapping } = scans.source.probe;
  const read = async (side: 'source' | 'target'): ReturnType<typeof rowsAt> =>
    rowsAt(
      scans[side],
      keys.map((one) => one[`${side}Key`]),
    );
  const [here, there] = await Promise.all([read('source'), read('target')]);
  const pairs = keys.map((one): KeyPair => {
    const found = here.get(one.key);
    const source = found?.selected === true && isRow(mapping, found.texts) ? found.texts : undefined;
    return { ...one, source, target: there.get(keyId(one.targetKey))?.texts };
  });
  const count = (side: 'source' | 'target'): number =>
    pairs.reduce((sum, pair) => (pair[side] === undefined ? sum : sum + Number(rowsIn(mapping, pair[side]))), 0);
  return { differences: await differencesOf(scans, pairs), rowsSource: count('source'), rowsTarget: count('target') };
}
