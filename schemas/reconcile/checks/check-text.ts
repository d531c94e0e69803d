/**
 * The condition of a check constraint as a text to be compared. Guarantee: two conditions that PostgreSQL prints apart only because a column
 * has another name or a wider type (casts, and parentheses around a single value) have one text; no other rule of SQL is known here.
 */

export interface CheckCondition {
  readonly text: string;
  /** Columns of the table that it names, by the names given. */
  readonly columns: readonly string[];
  readonly isValid: boolean;
  readonly isEnforced: boolean;
}

const TOKEN =
  /('(?:[^']|'')*')|::(?:(?:"(?:[^"]|"")+"|[a-z_][\w$]*)\.)?(?:"(?:[^"]|"")+"|[a-z_][\w$]*)(?: varying| precision)?(?:\(\d+(?:, ?-?\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*|("(?:[^"]|"")+")|([A-Za-z_\u0080-\uFFFF][\w$\u0080-\uFFFF]*)|(\d+(?:\.\d+)?)|(\s+)|(.)/gs;

const SUFFIX = / (NOT VALID|NO INHERIT|NOT ENFORCED)$/;

/** @param columns Names of the table's columns, by which each is written in the text. */
export function checkCondition(definition: string, columns: ReadonlyMap<string, string | undefined>): CheckCondition {
  let rest = definition;
  const suffixes = new Set<string>();
  for (let match = SUFFIX.exec(rest); match !== null; match = SUFFIX.exec(rest)) {
    suffixes.add(match[1]!);
    rest = rest.slice(0, match.index);
  }
  const named = new Set<string>();
  const matches = [...rest.matchAll(TOKEN)];
  const tokens = matches.flatMap(([whole, literal, quoted, word, , blank], i) => {
    if (whole.startsWith('::') || blank !== undefined) return [];
    // A negative number is printed in quotes.
    if (literal !== undefined) return /^'-?\d+(?:\.\d+)?'$/.test(literal) ? [literal.slice(1, -1)] : [literal];
    const name = quoted === undefined ? word : quoted.slice(1, -1).replaceAll('""', '"');
    const isCall = matches[i + 1]?.[0] === '(' && quoted === undefined;
    if (name === undefined || !columns.has(name) || isCall) return [whole];
    named.add(name);
    return [JSON.stringify(columns.get(name) ?? name)];
  });
  return {
    text: withoutNeedless(tokens).join(' '),
    columns: [...named],
    isValid: !suffixes.has('NOT VALID'),
    isEnforced: !suffixes.has('NOT ENFORCED'),
  };
}

/** Words that a parenthesis behind them does not belong to. */
const JOINS: ReadonlySet<string> = new Set(['AND', 'OR', 'NOT', 'WHEN', 'THEN', 'ELSE', 'BETWEEN', 'LIKE', 'ILIKE', 'CHECK']);

function withoutNeedless(tokens: readonly string[]): readonly string[] {
  for (let now = tokens; ;) {
    const at = now.findIndex((token, i) => token === '(' && isNeedless(now, i));
    if (at < 0) return now;
    const end = closing(now, at);
    now = [...now.slice(0, at), ...now.slice(at + 1, end), ...now.slice(end + 1)];
  }
}

/** Around one value, or just inside another. */
function isNeedless(tokens: readonly string[], at: number): boolean {
  const end = closing(tokens, at);
  const before = tokens[at - 1] ?? '';
  if (before === '(' && closing(tokens, at - 1) === end + 1) return true;
  return end === at + 2 && (!/^[A-Za-z_]/.test(before) || JOINS.has(before));
}

function closing(tokens: readonly string[], at: number): number {
  let depth = 0;
  for (let i = at; i < tokens.length; i++) {
    if (tokens[i] === '(') depth++;
    else if (tokens[i] === ')' && --depth === 0) return i;
  }
  return tokens.length;
}
