/**
 * Table names as the file writes them: `schema.table`, `*` as a glob in either part, `"…"` around a part that holds a dot, a star or
 * a quote (doubled). Names are case-sensitive: they are the catalogue's own.
 */

export interface NamePattern {
  readonly schema: string;
  readonly name: string;
  /** The parts stand in quotes: a star in them is a star. */
  readonly schemaQuoted: boolean;
  readonly nameQuoted: boolean;
}

const PART = String.raw`("(?:[^"]|"")+"|[^".]+)`;
const PATTERN = new RegExp(`^${PART}\\.${PART}$`);

/** Undefined when the text is not `schema.table`. */
export function parseTablePattern(text: string): NamePattern | undefined {
  const match = PATTERN.exec(text);
  if (!match) return undefined;
  const [schema, schemaQuoted] = unquote(match[1]!);
  const [name, nameQuoted] = unquote(match[2]!);
  return { schema, name, schemaQuoted, nameQuoted };
}

function unquote(part: string): [text: string, quoted: boolean] {
  return part.startsWith('"') ? [part.slice(1, -1).replaceAll('""', '"'), true] : [part, false];
}

export function isGlob(pattern: NamePattern): boolean {
  return schemaHasGlob(pattern) || nameHasGlob(pattern);
}

function schemaHasGlob(pattern: NamePattern): boolean {
  return !pattern.schemaQuoted && pattern.schema.includes('*');
}

export function nameHasGlob(pattern: NamePattern): boolean {
  return !pattern.nameQuoted && pattern.name.includes('*');
}

/** Higher wins: a name, a glob with letters in it, all tables of a schema, several schemas. */
export function specificity(pattern: NamePattern): number {
  if (schemaHasGlob(pattern)) return 0;
  if (!nameHasGlob(pattern)) return 3;
  return pattern.name === '*' ? 1 : 2;
}

export function matchesTable(pattern: NamePattern, table: { readonly schema: string; readonly name: string }): boolean {
  return matches(pattern.schema, pattern.schemaQuoted, table.schema) && matches(pattern.name, pattern.nameQuoted, table.name);
}

function matches(pattern: string, quoted: boolean, text: string): boolean {
  return quoted || !pattern.includes('*') ? pattern === text : matchesGlob(pattern, text);
}

/** Greedy with one step back: linear but for the star last tried, so no pattern can make it slow. */
function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

/** The target's name: each star stands for the source's own schema or name. */
export function fillPattern(
  pattern: NamePattern,
  source: { readonly schema: string; readonly name: string },
): { schema: string; name: string } {
  return {
    schema: pattern.schemaQuoted ? pattern.schema : pattern.schema.replaceAll('*', () => source.schema),
    name: pattern.nameQuoted ? pattern.name : pattern.name.replaceAll('*', () => source.name),
  };
}

/** As it would stand in the file. */
export function showTable(table: { readonly schema: string; readonly name: string }): string {
  return `${showPart(table.schema)}.${showPart(table.name)}`;
}

function showPart(part: string): string {
  return /[".*]/.test(part) ? `"${part.replaceAll('"', '""')}"` : part;
}
