/**
 * Which columns hold personal data, as far as names and the file tell. Guarantee: a guess that errs towards yes: what a mapping hides by a
 * step, what is named like personal data, and what the name says nothing of but could hold anything.
 */
import type { CatalogColumn } from '../table.ts';
import type { TableMapping } from './compiled-mapping.ts';
import { likelyPersonal } from './personal-kind.ts';
import { stepName } from './steps/build-step.ts';

const WORDS: readonly string[] = [
  'name surname forename firstname lastname fullname nickname username login alias initials title mail email phone telephone tel',
  'mobile fax contact skype twitter website address addr street city town zip zipcode postcode postal lat lon lng latitude longitude',
  'birth birthday birthdate born dob age gender sex nationality religion ethnicity marital ssn passport licence license tax taxid vat',
  'iban bic account acct card cc cvv pan salary income wage diagnosis patient medical health photo picture avatar signature',
  'fingerprint ip ipaddr mac imei device cookie session token secret password passwd pwd pin hash salt comment comments note notes',
  'remark remarks message body text description person personal',
].flatMap((line) => line.split(' '));

const PERSONAL: ReadonlySet<string> = new Set(WORDS);
/** Long enough to mean the same within another word: cardholder. */
const LONG: readonly string[] = WORDS.filter((word) => word.length >= 4);

/** `homeAddress`, `HOME_ADDR2` → home, address */
function wordsOf(name: string): string[] {
  return name
    .replaceAll(/([a-z\d])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
}

export function isNamedPersonal(name: string): boolean {
  const words = wordsOf(name);
  const joined = words.join('');
  return words.some((word) => PERSONAL.has(word) || PERSONAL.has(word.replace(/s$/, ''))) || LONG.some((word) => joined.includes(word));
}

const HIDING: ReadonlySet<string> = new Set(['hash', 'hmac', 'mask', 'tokenise']);

/** Columns that the mapping itself hides from the target. */
function hiddenColumns({ steps }: TableMapping): ReadonlySet<string> {
  const hiding = (steps?.computed ?? []).filter((one) => one.steps.some((step) => HIDING.has(stepName(step))));
  return new Set(hiding.flatMap(({ from }) => from.map((i) => steps!.inputs[i]!.name)));
}

/** Columns whose values decide what becomes of a row: with others in their place a test would test something else. */
function decidingColumns({ steps, filter, sourceKey }: TableMapping): ReadonlySet<string> {
  const mapped = (steps?.computed ?? []).filter((one) => one.steps.some((step) => stepName(step) === 'map' || stepName(step) === 'nullIf'));
  return new Set([
    ...mapped.flatMap(({ from }) => from.map((i) => steps!.inputs[i]!.name)),
    ...(filter?.conditions ?? []).map(({ column }) => column),
    ...sourceKey,
  ]);
}

/** Types whose values can say anything. */
const FREE: ReadonlySet<string> = new Set([
  'text',
  'varchar',
  'bpchar',
  'name',
  'json',
  'jsonb',
  'xml',
  'bytea',
  'inet',
  'cidr',
  'macaddr',
  'tsvector',
]);

/** `tables`: all that its table goes to. */
export function mayBePersonal(column: CatalogColumn, tables: readonly TableMapping[]): boolean {
  const name = tables[0]?.from.name ?? '';
  if (
    isNamedPersonal(column.name) ||
    likelyPersonal(column, name) !== undefined ||
    tables.some((table) => hiddenColumns(table).has(column.name))
  )
    return true;
  const { typeName = '', domainBase, typtype } = column;
  const isFree = FREE.has(domainBase?.typeName ?? typeName) || (typtype !== 'e' && !column.builtin && domainBase === undefined);
  return isFree && !tables.some((table) => decidingColumns(table).has(column.name));
}
