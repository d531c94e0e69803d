/**
 * The cast of one column. Guarantee: a declared cast becomes the target column's own type as the catalogue spells it (nothing of the
 * file's text reaches SQL but a time zone, quoted), a value is never narrowed unless the file says so, and has one meaning whenever it is cast.
 */
import type { ColumnEntry } from '../config/migration-file.ts';
import { didYouMean } from '../nearest-name.ts';
import { quoteLiteral, type CatalogColumn } from '../table.ts';
import type { ColumnCast } from './compiled-mapping.ts';
import type { ColumnContext } from './compile-columns.ts';
import { showTable } from './table-pattern.ts';
import { fitTypes, underDomain } from './type-fit.ts';
import { isTimeZone } from './time-zone.ts';
import { parseTypeName, sameTypeName } from './type-name.ts';

export interface CastRequest {
  readonly column: CatalogColumn;
  readonly target: CatalogColumn;
  readonly entry: ColumnEntry | undefined;
  readonly context: ColumnContext;
}

/** Undefined: the text passes as it is. `refused`: reported. */
export function compileCast(request: CastRequest): ColumnCast | undefined | 'refused' {
  const { column, target, entry, context } = request;
  if (entry?.zone !== undefined) return compileZone(request, entry.zone);
  if (entry?.cast !== undefined) return compileDeclared(request, entry.cast);
  const fit = fitTypes(column, target, context.world);
  if (fit.kind === 'same') return undefined;
  if (fit.kind === 'convert') return toTarget(column, target, context);
  const { source, target: table } = context.resolved;
  const message = `"${column.name}" of ${showTable(source)} is ${column.type}, "${target.name}" of ${showTable(table)} is ${target.type}: ${fit.why}`;
  const line = fit.advice === 'zone' ? 'zone: Europe/Berlin' : `cast: ${yamlText(target.type)}`;
  const rename = target.name === column.name ? '' : `to: ${target.name}, `;
  const remedy =
    fit.advice === undefined
      ? 'Change the type on the target.'
      : `Change the type on the target, or declare it under columns: \`${column.name}: { ${rename}${line} }\`.`;
  context.list.error('CF-4001', message, entry ?? context.resolved.entry, remedy);
  return 'refused';
}

/** Within a flow mapping a comma would end the value. */
function yamlText(text: string): string {
  return /[,[\]{}"']/.test(text) ? `'${text.replaceAll("'", "''")}'` : text;
}

/**
 * A cast of the server's: what is read in the type's own text form, and cast to the target column's full type. A type of the target's
 * own (enum, extension) reads the text itself, since the source could not compute the same cast; a domain checks what its base type got.
 */
function toTarget(column: CatalogColumn, target: CatalogColumn, context: ColumnContext): ColumnCast | undefined {
  const plain = underDomain(target);
  if (!plain.builtin || (target.typtype === 'd' && fitTypes(column, plain, context.world).kind === 'same')) return undefined;
  const sql = `($$)::${plain.type}`;
  return { fromType: readableType(column), sql: isOfTime(plain) && !isOfTime(underDomain(column)) ? lasting(sql, plain.type) : sql };
}

const OF_TIME = /^_?(?:date|timestamp|timestamptz|time|timetz|(?:date|ts|tstz)(?:multi)?range)$/;

function isOfTime({ builtin, typeName = '' }: CatalogColumn): boolean {
  return builtin && OF_TIME.test(typeName);
}

/** Words that are another time whenever they are read: copy, stream and comparison would each have their own. None is in any value's own text. */
function lasting(cast: string, type: string): string {
  const words = `($$)::text COLLATE "C" ~* '(^|[^a-z])(now|today|tomorrow|yesterday)([^a-z]|$)'`;
  return `(CASE WHEN ${words} THEN ('a word for the time of reading: ' || ($$)::text)::${type} ELSE ${cast} END)`;
}

/** The type that both servers know the source's text by. */
function readableType(column: CatalogColumn): string {
  const plain = underDomain(column);
  return plain.builtin ? plain.baseType : 'text';
}

function compileDeclared({ column, target, entry, context }: CastRequest, cast: string): ColumnCast | undefined | 'refused' {
  const place = entry ?? context.resolved.entry;
  const wanted = parseTypeName(cast);
  if (wanted === undefined) {
    const remedy = `Write the type of the target's column: \`cast: ${yamlText(target.type)}\`.`;
    context.list.error('CF-1004', `"cast" of column "${column.name}" is not a type; expected for example numeric(12,2)`, place, remedy);
    return 'refused';
  }
  const actual = parseTypeName(target.type);
  if (actual === undefined || !sameTypeName(wanted, actual)) {
    const remedy = `Write \`cast: ${yamlText(target.type)}\`, or change the column's type on the target.`;
    context.list.error(
      'CF-4001',
      `column "${column.name}" is cast to ${cast}, but "${target.name}" of ${showTable(context.resolved.target)} is ${target.type}`,
      place,
      remedy,
    );
    return 'refused';
  }
  const [from, to] = [underDomain(column), underDomain(target)];
  const arrays = (from.elementOid === 0) === (to.elementOid === 0) || isTextual(from) || isTextual(to);
  if (from.builtin && to.builtin && !(arrays && context.world.canCast(from.typeName ?? '', to.typeName ?? ''))) {
    const message = `PostgreSQL has no cast from ${column.type} to ${target.type} (column "${column.name}")`;
    context.list.error('CF-4001', message, place, "Change the column's type on the target, for example to text.");
    return 'refused';
  }
  return toTarget(column, target, context);
}

function isTextual({ typeName, elementOid }: CatalogColumn): boolean {
  return elementOid === 0 && (typeName === 'text' || typeName === 'varchar');
}

function compileZone({ column, target, entry, context }: CastRequest, zone: string): ColumnCast | 'refused' {
  const place = entry ?? context.resolved.entry;
  const refuse = (message: string, remedy?: string): 'refused' => {
    context.list.error('CF-4001', message, place, remedy);
    return 'refused';
  };
  const pair = `${underDomain(column).baseType} → ${target.baseType}`;
  if (pair !== `${LOCAL} → ${ZONED}` && pair !== `${ZONED} → ${LOCAL}`) {
    return refuse(
      `column "${column.name}" has a zone, but goes from ${column.type} to ${target.type}`,
      `A zone stands between ${LOCAL} and ${ZONED} only.`,
    );
  }
  if (!isTimeZone(zone))
    return refuse(
      `"${zone}" is not an IANA time zone${didYouMean(zone, Intl.supportedValuesOf('timeZone'))}`,
      'Write it as in Europe/Berlin.',
    );
  const moved = `($$ AT TIME ZONE ${quoteLiteral(zone)})`;
  return { fromType: underDomain(column).baseType, sql: target.typmod < 0 ? moved : `${moved}::${target.type}` };
}

const LOCAL = 'timestamp without time zone';
const ZONED = 'timestamp with time zone';
