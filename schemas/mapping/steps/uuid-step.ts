/**
 * UUIDs of names (RFC 9562 §5.5, version 5). Guarantee: the same as PostgreSQL's uuid_generate_v5(namespace, name); of several columns the name
 * is their texts with a separator between them, and no two rows with other values there have the same name.
 */
import { createHash } from 'node:crypto';
import type { StepBlock } from '#schemas/config/step-schema.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { underDomain } from '../type-fit.ts';
import { onText, StepFault, type Step, type StepContext } from './step.ts';

/** RFC 9562 §6.6. */
const NAMESPACES: Readonly<Record<string, string>> = {
  dns: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  url: '6ba7b811-9dad-11d1-80b4-00c04fd430c8',
  oid: '6ba7b812-9dad-11d1-80b4-00c04fd430c8',
  x500: '6ba7b814-9dad-11d1-80b4-00c04fd430c8',
};

/** Types of which every text is made of these characters. */
const ALPHABETS: Readonly<Record<string, RegExp>> = {
  int2: /[-0-9]/,
  int4: /[-0-9]/,
  int8: /[-0-9]/,
  oid: /[0-9]/,
  bool: /[tf]/,
  uuid: /[-0-9a-f]/,
  date: /[-0-9 BCinfty]/,
};

export function uuidStep({ namespace, sep }: NonNullable<StepBlock['uuid5']>, { inputs, isFirst }: StepContext): Step {
  const space = Buffer.from((NAMESPACES[namespace] ?? namespace).replaceAll('-', ''), 'hex');
  if (inputs.length < 2 || isFirst !== true) return onText((text) => nameUuid(space, text));
  checkApart(inputs, sep);
  return {
    takes: 'many',
    apply: (values) => (values.includes(null) ? null : nameUuid(space, values.join(sep))),
  };
}

/** The parts can be told apart from both ends, up to the one that may hold the separator. */
function checkApart(inputs: readonly CatalogColumn[], sep: string): void {
  const open = inputs.filter((column) => mayHold(column, sep));
  if (open.length < 2) return;
  const message = `"${open[0]!.name}" and "${open[1]!.name}" may hold the separator "${sep}", so two rows could get one UUID`;
  throw new StepFault(message, 'Begin with the step object, which keeps columns apart, or take another separator (sep:).');
}

function mayHold(column: CatalogColumn, sep: string): boolean {
  const { builtin, elementOid, typeName = '' } = underDomain(column);
  const alphabet = builtin && elementOid === 0 ? ALPHABETS[typeName] : undefined;
  return alphabet === undefined || Array.from(sep).every((character) => alphabet.test(character));
}

const VERSION = 0x50;
const VARIANT = 0x80;

function nameUuid(namespace: Buffer, name: string): string {
  const digest = createHash('sha1').update(namespace).update(name, 'utf8').digest();
  digest[6] = (digest[6]! & 0x0f) | VERSION;
  digest[8] = (digest[8]! & 0x3f) | VARIANT;
  const hex = digest.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
