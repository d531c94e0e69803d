/**
 * Whether a constant of the file (`set: { TARGET: { value } }`) is a value of its column. Guarantee: what is told would be refused with every row;
 * of types that only a server reads nothing is said.
 */
import type { CatalogColumn } from '../table.ts';
import { castStep } from './steps/cast-step.ts';
import { StepFault, StepRefusal } from './steps/step.ts';
import { underDomain, type TypeWorld } from './type-fit.ts';

/** Types whose texts a step can tell from others. */
const READ: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'bool', 'uuid', 'json', 'jsonb', 'date']);
/** Numeric's own, which a cast does not give. */
const ENDLESS = /^[-+]?inf(?:inity)?$/i;
/** Dates are read in many forms; this one every step knows. */
const PLAIN_DATE = /^\d{4}-\d{2}-\d{2}$/;
const HEADER = 4;

/** Undefined: nothing against it. No value is in it. */
export function constantFault(value: string | null, column: CatalogColumn, { target }: TypeWorld): string | undefined {
  if (value === null) return column.notNull ? 'the column is NOT NULL' : undefined;
  const { typtype, typeOid, typeName = '', typmod, elementOid, builtin, type } = underDomain(column);
  if (elementOid !== 0) return undefined;
  if (typtype === 'e') return target.get(typeOid)?.labels.includes(value) === false ? `the value is no label of ${type}` : undefined;
  if (!builtin) return undefined;
  if ((typeName === 'varchar' || typeName === 'bpchar') && typmod >= HEADER) {
    // Blanks at the end are cut off.
    const length = Array.from(value.replace(/ +$/, '')).length;
    return length > typmod - HEADER ? `the value has more than ${typmod - HEADER} characters` : undefined;
  }
  if (!READ.has(typeName) || (typeName === 'numeric' && ENDLESS.test(value))) return undefined;
  if (typeName === 'date' && !PLAIN_DATE.test(value)) return undefined;
  return isRead(value, type) ? undefined : `the value is no ${type} as PostgreSQL prints it`;
}

function isRead(value: string, type: string): boolean {
  try {
    const { apply } = castStep({ to: type, onError: 'fail' });
    return (apply as (text: string) => unknown)(value) !== undefined;
  } catch (error) {
    if (error instanceof StepFault) return true;
    if (error instanceof StepRefusal) return false;
    throw error;
  }
}
