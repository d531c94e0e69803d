/** Finds the name that was probably meant. Guarantee: a suggestion is one of the names given, and close enough to be a typo of it. */

/** Longest input that is compared: identifiers have at most 63 bytes, and the cost is quadratic. */
const LENGTH_MAX = 130;

export function nearestName(wanted: string, names: Iterable<string>): string | undefined {
  if (wanted.length > LENGTH_MAX) return undefined;
  const plain = wanted.toLowerCase();
  let best: string | undefined;
  let bestDistance = (wanted.length <= 3 ? 1 : Math.max(2, Math.floor(wanted.length / 3))) + 0.5;
  for (const name of names) {
    if (name === wanted || Math.abs(name.length - wanted.length) > bestDistance) continue;
    // A difference in case alone counts less than any other.
    const distance = name.toLowerCase() === plain ? 0.5 : editDistance(plain, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best !== undefined && bestDistance < Math.max(wanted.length, best.length) ? best : undefined;
}

/** ` Did you mean "x"?`, or nothing. */
export function didYouMean(wanted: string, names: Iterable<string>): string {
  const nearest = nearestName(wanted, names);
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}

/** Insertions, deletions, substitutions and swaps of neighbours, each at cost 1. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      row.push(cost);
    }
    before = above;
    above = row;
  }
  return above[b.length]!;
}
