/**
 * Rows of one table by their keys, on both sides. Guarantee: a key is judged by the row that each side's session sees at this moment, in the form of the
 * mapping; whether these are of one state is the caller's to know.
 */
import { isRow, rowsIn } from '#connectors/probe/postgres/exploded-rows.ts';
import { rowsAt } from '#connectors/probe/postgres/computed-scan.ts';
import { keyId } from '#connectors/probe/postgres/rows-by-key.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { DifferenceSample } from '#schemas/reconcile/verify-result.ts';
import { differencesOf, mapKeys, type BothScans, type KeyPair } from '../touched-rows.ts';

export interface JudgedKeys {
  readonly differences: readonly DifferenceSample[];
  readonly rowsSource: number;
  readonly rowsTarget: number;
}

/** @param keys JSON texts of the source's. */
export async function judgeKeys(scans: BothScans, keys: readonly string[]): Promise<JudgedKeys> {
  const { mapping } = scans.source.probe;
  const sourceKeys = keys.map((key) => JSON.parse(key) as Texts);
  const targetKeys = await mapKeys(scans, sourceKeys);
  const [here, there] = await Promise.all([rowsAt(scans.source, sourceKeys), rowsAt(scans.target, targetKeys)]);
  const pairs = keys.map((key, i): KeyPair => {
    const [sourceKey, targetKey] = [sourceKeys[i]!, targetKeys[i]!];
    const found = here.get(keyId(sourceKey));
    const source = found?.selected === true && isRow(mapping, found.texts) ? found.texts : undefined;
    return { key, sourceKey, targetKey, source, target: there.get(keyId(targetKey))?.texts };
  });
  const count = (side: 'source' | 'target'): number =>
    pairs.reduce((sum, pair) => (pair[side] === undefined ? sum : sum + Number(rowsIn(mapping, pair[side]))), 0);
  return { differences: await differencesOf(scans, pairs), rowsSource: count('source'), rowsTarget: count('target') };
}
