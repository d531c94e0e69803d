/**
 * Names that mean the same in another spelling: `CustomerId`, `customer_id`, `customers` and `Customer`. Guarantee: two names have the same
 * sound only if they differ in case, in how their words are joined, or in singular and plural.
 */

const IRREGULAR: Readonly<Record<string, string>> = { people: 'person', children: 'child', men: 'man', women: 'woman', ids: 'id' };

/** Words in small letters: `InvoiceLines` and `invoice_lines` → invoice, lines. */
export function wordsOf(name: string): readonly string[] {
  return name
    .replaceAll(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1_$2')
    .replaceAll(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

/** Equal for names that differ only in spelling; '' for a name without a letter or digit. */
export function soundOf(name: string): string {
  return wordsOf(name).map(singular).join('');
}

/** The sound of a column without its table's name before it: `customer_name` of `customers` sounds like `name`. */
export function soundWithin(name: string, tables: readonly string[]): string {
  const words = wordsOf(name).map(singular);
  const before = tables
    .map((table) => wordsOf(table).map(singular))
    .find((table) => table.length > 0 && table.every((word, i) => word === words[i]));
  return (before === undefined || before.length === words.length ? words : words.slice(before.length)).join('');
}

/** `invoices` → `invoice`; a guess of English. */
export function singular(word: string): string {
  const irregular = IRREGULAR[word];
  if (irregular !== undefined) return irregular;
  if (word.length <= 3 || !word.endsWith('s') || /(?:ss|us|is)$/.test(word)) return word;
  if (word.endsWith('ies')) return `${word.slice(0, -3)}y`;
  return word.slice(0, /(?:ss|us|x|z|ch|sh)es$/.test(word) ? -2 : -1);
}

/** In what two names of the same sound differ. */
export function differenceOf(one: string, other: string): string {
  if (one.toLowerCase() === other.toLowerCase()) return 'other case';
  return wordsOf(one).join('') === wordsOf(other).join('') ? 'spelt otherwise' : 'singular and plural';
}
