/** Casts that a file must declare and that lose nothing. Guarantee: under one of these a value is kept or refused, and never another one. */
import type { CatalogColumn } from '../table.ts';
import { fitTypes, underDomain, type TypeWorld } from './type-fit.ts';

const WHOLE_TEXT: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'uuid']);

/** Why the cast that a column needs keeps each value or refuses it, and never changes one; undefined where it needs none or might. */
export function losslessCast(source: CatalogColumn, target: CatalogColumn, world: TypeWorld): string | undefined {
  if (fitTypes(source, target, world).kind !== 'no' || source.generated !== '' || target.generated !== '') return undefined;
  const [from, to] = [underDomain(source), underDomain(target)];
  if (from.elementOid !== 0 || to.elementOid !== 0) return undefined;
  const isText = to.builtin && (to.typeName === 'text' || (to.typeName === 'varchar' && to.typmod < 0));
  if (target.typtype === 'd') {
    return fitTypes(from, to, world).kind === 'no' ? undefined : `a value that the domain ${target.type} does not allow halts the table`;
  }
  if (isText && (from.typtype === 'e' || (from.builtin && WHOLE_TEXT.has(from.typeName ?? '')))) return 'keeps every value, as text';
  const fromText = from.builtin && (from.typeName === 'text' || from.typeName === 'varchar');
  return to.typtype === 'e' && fromText ? `a value that is no label of ${target.type} halts the table` : undefined;
}
