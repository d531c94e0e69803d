/**
 * A critical query of the application, asked on both sides at one aligned state. Guarantee: `differs` is said only of answers that each side
 * gives a second time, in a new transaction at the same state, so a query that answers otherwise each time accuses nobody; of values nothing is told.
 */
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { compareLists, type List } from '#schemas/reconcile/checks/compare-answers.ts';
import type { QueryText, ShadowCheck } from '#schemas/reconcile/checks/planned-check.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import type { Side } from '#connectors/probe/postgres/held-snapshot.ts';

export interface ShadowAsker {
  /** Enters the aligned state in a new transaction. */
  readonly begin: () => Promise<void>;
  readonly ask: (side: Side, text: QueryText, values: readonly (string | null)[]) => Promise<List>;
  readonly fail: (reason: Inconclusive) => Error;
}

type Outcome = Pick<CheckVerdict, 'verdict' | 'source' | 'target' | 'message'>;

export async function evaluateShadow(check: ShadowCheck, asker: ShadowAsker): Promise<Outcome> {
  const both = async (values: readonly (string | null)[]): Promise<readonly [List, List]> =>
    Promise.all([asker.ask('source', check.source, values), asker.ask('target', check.target, values)]);
  const wrong: { readonly set: number; readonly message: string }[] = [];
  const rows = { source: 0, target: 0 };
  for (const [set, values] of check.parameters.entries()) {
    const [source, target] = await both(values);
    rows.source += source.rows.length;
    rows.target += target.rows.length;
    requireIgnored(check, [source, target], asker);
    const message = differenceOf(check, source, target);
    if (message === undefined) continue;
    await asker.begin();
    const again = await both(values);
    if (differenceOf(check, source, again[0]) !== undefined || differenceOf(check, target, again[1]) !== undefined)
      throw asker.fail({ cause: 'unreadable', message: 'the query gives another answer each time that it is asked of one state' });
    wrong.push({ set: set + 1, message });
  }
  const shown = { source: counted(rows.source), target: counted(rows.target) };
  const sets = check.parameters.length;
  const [first] = wrong;
  if (first === undefined) {
    const of = sets === 1 ? '' : ` for ${sets} sets of parameters`;
    return { ...shown, verdict: 'equal', message: `the answers are equal${of}` };
  }
  const of = sets === 1 ? '' : ` for ${wrong.length} of ${sets} sets of parameters, the first of them set ${first.set}`;
  return { ...shown, verdict: 'differs', message: `${first.message}${of}` };
}

function counted(rows: number): string {
  return rows === 1 ? 'one row' : `${rows} rows`;
}

function requireIgnored({ ignore }: ShadowCheck, lists: readonly List[], { fail }: ShadowAsker): void {
  const strange = ignore.find((name) => !lists.some(({ names }) => names.includes(name)));
  if (strange === undefined) return;
  throw fail({ cause: 'unreadable', message: `no answer has a column "${strange}" to ignore: there are ${lists[0]!.names.join(', ')}` });
}

function differenceOf(check: ShadowCheck, source: List, target: List): string | undefined {
  const [one, other] = withoutIgnored(check, source, target);
  const { equal, message } = compareLists(one, other, check);
  if (equal) return undefined;
  return check.ordered && compareLists(one, other, { ...check, ordered: false }).equal ? 'the same rows come in another order' : message;
}

/** By place: a column may have another name on the other side. */
function withoutIgnored({ ignore }: ShadowCheck, source: List, target: List): readonly [List, List] {
  if (ignore.length === 0 || source.names.length !== target.names.length) return [source, target];
  const kept = source.names.flatMap((name, i) => (ignore.includes(name) || ignore.includes(target.names[i]!) ? [] : [i]));
  const cut = ({ rows, names, numeric }: List): List => ({
    rows: rows.map((row) => kept.map((i) => row[i]!)),
    names: kept.map((i) => names[i]!),
    numeric: kept.map((i) => numeric[i]!),
  });
  return [cut(source), cut(target)];
}
