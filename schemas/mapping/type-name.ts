/**
 * Type names as people write them, brought to PostgreSQL's own spelling. Guarantee: nothing of the text written in the file ever gets
 * into SQL; it is only compared with the catalogue's names, and the catalogue's name is used.
 */

export interface TypeName {
  /** Without modifier and brackets, in format_type's spelling: `timestamp with time zone`, `numeric`, `shop.mood`. */
  readonly base: string;
  readonly modifiers: readonly number[];
  readonly array: boolean;
}

const ALIASES: Readonly<Record<string, string>> = {
  bool: 'boolean',
  bpchar: 'character',
  char: 'character',
  dec: 'numeric',
  decimal: 'numeric',
  float: 'double precision',
  float4: 'real',
  float8: 'double precision',
  int: 'integer',
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
  time: 'time without time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
  timetz: 'time with time zone',
  varbit: 'bit varying',
  varchar: 'character varying',
  '"bit"': 'bit',
};

const IDENT = String.raw`(?:[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*|"(?:[^"]|"")+")`;
const TYPE = new RegExp(
  `^(${IDENT}(?:\\.${IDENT})?(?: [a-z]+)*)\\s*(?:\\(\\s*(-?\\d+(?:\\s*,\\s*-?\\d+)?)\\s*\\))?((?: [a-z]+)*)\\s*((?:\\[\\d*\\])*)$`,
);

/** Undefined when the text is no type name. */
export function parseTypeName(text: string): TypeName | undefined {
  const match = TYPE.exec(text.trim().replaceAll(/\s+/g, ' '));
  if (!match) return undefined;
  const [, head, modifiers, tail, brackets] = match;
  const written = foldCase(head! + tail!).replace(/^pg_catalog\./, '');
  return {
    base: ALIASES[written] ?? written,
    modifiers: modifiers === undefined ? [] : modifiers.split(',').map(Number),
    array: brackets !== '',
  };
}

/** Lower case outside quotes, and quotes only where they are needed, as format_type prints. */
function foldCase(text: string): string {
  return text.replaceAll(/"((?:[^"]|"")+)"|[^"]+/g, (part, quoted: string | undefined) => {
    if (quoted === undefined) return part.toLowerCase();
    return /^[a-z_][a-z0-9_]*$/.test(quoted) && quoted !== 'char' && quoted !== 'bit' ? quoted : part;
  });
}

/** True when `wanted` names the type `actual`: the schema may be left out, and the modifier too. */
export function sameTypeName(wanted: TypeName, actual: TypeName): boolean {
  const name = wanted.base.includes('.') ? actual.base : unqualified(actual.base);
  if (wanted.base !== name || wanted.array !== actual.array) return false;
  return wanted.modifiers.length === 0 || String(wanted.modifiers) === String(withScale(actual, wanted));
}

/** numeric(12) is numeric(12,0). */
function withScale(actual: TypeName, wanted: TypeName): readonly number[] {
  return actual.modifiers.length === 2 && wanted.modifiers.length === 1 && actual.modifiers[1] === 0
    ? actual.modifiers.slice(0, 1)
    : actual.modifiers;
}

function unqualified(base: string): string {
  const match = new RegExp(`^${IDENT}\\.(.+)$`).exec(base);
  return match?.[1] ?? base;
}
