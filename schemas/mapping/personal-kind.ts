/**
 * Columns that look like personal data. Guarantee: a guess by name and type, told as one; it marks and proposes, and decides nothing.
 */
import { singular, wordsOf } from '../name-words.ts';
import type { CatalogColumn } from '../table.ts';
import { underDomain } from './type-fit.ts';

export type PersonalKind =
  | 'e-mail address'
  | 'phone number'
  | 'name'
  | 'birth date'
  | 'postal address'
  | 'bank account'
  | 'payment card'
  | 'identity number'
  | 'network address'
  | 'password or secret';

interface Pattern {
  readonly kind: PersonalKind;
  /** Over the words of the name, in singular, with a blank between each. */
  readonly name: RegExp;
  readonly types: ReadonlySet<string>;
}

const TEXT: ReadonlySet<string> = new Set(['text', 'varchar', 'bpchar', 'citext', 'name']);
const TEXT_OR_NUMBER: ReadonlySet<string> = new Set([...TEXT, 'int4', 'int8', 'numeric']);
const TEXT_OR_BYTES: ReadonlySet<string> = new Set([...TEXT, 'bytea']);
const TEXT_OR_DATE: ReadonlySet<string> = new Set([...TEXT, 'date', 'timestamp', 'timestamptz']);
const TEXT_OR_NETWORK: ReadonlySet<string> = new Set([...TEXT, 'inet', 'cidr', 'macaddr', 'macaddr8']);

/** The first that fits: an e-mail address is no postal one. */
const PATTERNS: readonly Pattern[] = [
  { kind: 'e-mail address', name: /\b(?:e ?mail|mail)\b/, types: TEXT },
  { kind: 'network address', name: /\b(?:ipv?|(?:ip|mac) ?addr(?:ess)?)\b/, types: TEXT_OR_NETWORK },
  {
    kind: 'password or secret',
    name: /\b(?:password|passwd|pwd|passphrase|passcode|secret|api ?key|(?:access|refresh|auth|session) ?token|otp)\b/,
    types: TEXT_OR_BYTES,
  },
  { kind: 'bank account', name: /\b(?:iban|bic|swift|account (?:number|no)|sort code|routing number)\b/, types: TEXT_OR_NUMBER },
  {
    kind: 'payment card',
    name: /\b(?:(?:credit ?|debit ?)?card (?:number|no|num)|credit ?card|cc (?:number|num)|cvv|cvc)\b/,
    types: TEXT_OR_NUMBER,
  },
  {
    kind: 'identity number',
    name: /\b(?:ssn|social security|national id|passport|tax (?:id|number)|driver licen[cs]e|id card)\b/,
    types: TEXT_OR_NUMBER,
  },
  { kind: 'phone number', name: /\b(?:tele)?(?:phone|fax)|\b(?:mobile|cell|msisdn)\b/, types: TEXT_OR_NUMBER },
  { kind: 'birth date', name: /\b(?:dob|birth ?(?:day|date)|date of birth|born(?: (?:on|at))?$)/, types: TEXT_OR_DATE },
  {
    kind: 'name',
    name: /\b(?:(?:first|last|middle|given|family|maiden|full|sur|nick|user|login) ?name|forename|login)\b/,
    types: TEXT,
  },
  { kind: 'postal address', name: /\b(?:address|addr|street|zip|zip ?code|post(?:al)? ?code|house number)\b/, types: TEXT },
];

const PEOPLE = /\b(?:person|customer|client|user|employee|staff|contact|patient|member|guest|author|actor|student|teacher|driver|owner)\b/;

/** Undefined: nothing in name or type speaks of a person. */
export function likelyPersonal(column: CatalogColumn, table: string): PersonalKind | undefined {
  const plain = underDomain(column);
  const type = plain.typeName ?? plain.baseType;
  if (plain.elementOid !== 0 || column.generated !== '') return undefined;
  const words = phraseOf(column.name);
  const found = PATTERNS.find(({ name, types }) => types.has(type) && name.test(words));
  if (found !== undefined) return found.kind;
  if (words === 'name' && TEXT.has(type) && PEOPLE.test(phraseOf(table))) return 'name';
  return type === 'inet' ? 'network address' : undefined;
}

/** `billingAddress2` → `billing address`. */
function phraseOf(name: string): string {
  return wordsOf(name)
    .map((word) => singular(word.replace(/(?<=\D)\d+$/, '')))
    .join(' ');
}

/** What stands behind a year: of a birth date the year is left. */
const FIRST_OF_YEAR: Readonly<Record<string, string>> = {
  date: '-01-01',
  timestamp: '-01-01 00:00:00',
  timestamptz: '-01-01 00:00:00+00',
};

/** The steps that would mask it, as the file writes them; undefined where the target's type leaves only another value. */
export function maskingSteps(kind: PersonalKind, column: string, target: CatalogColumn): string | undefined {
  const plain = underDomain(target);
  const type = plain.typeName ?? plain.baseType;
  const firstOfYear = FIRST_OF_YEAR[type];
  if (kind === 'birth date' && firstOfYear !== undefined && /^[A-Za-z_]\w*$/.test(column))
    return `[{ cel: 'row.${column}.substring(0, 4) + "${firstOfYear}"' }]`;
  if (!TEXT.has(type)) return undefined;
  if (kind === 'name' || kind === 'postal address') return '[{ mask: { keepStart: 1 } }]';
  if (kind === 'password or secret' || kind === 'birth date') return '[{ mask: {} }]';
  return '[{ tokenise: { key: "${PII_KEY}" } }]';
}
