/**
 * What the connector writes where the stream did not carry a value, in types that are neither plain text nor plain bytes. Guarantee: seen
 * with the connector 3.7; types that are not here get null from it, which nobody can tell from a null (input-losses.ts refuses them).
 */
import { PipelineError } from '../errors.ts';
import { SOURCE_TYPE, UNAVAILABLE } from './connect-type.ts';
import type { Form } from './form/form.ts';
import { Slab } from './slab.ts';

/** Java's UUID of the placeholder's bytes (version 3). */
const UNAVAILABLE_UUID = 'b68a35a7-17ad-35b3-af2a-ae46edb4545a';
const UNAVAILABLE_MAP = JSON.stringify({ [UNAVAILABLE]: UNAVAILABLE });
/** An array of arrays, as Java shows it to whoever takes its elements for texts. */
const JAVA_ARRAY = /[{,"]\[L[\w.]+;@[0-9a-f]+[,}"]/;
const JAVA_ARRAY_BEGINS = Buffer.from('[L', 'latin1');
const NONE: readonly Buffer[] = [];

/** Texts that a value of this form has when it stands for an absent one. */
export function unavailableTexts(form: Form): readonly Buffer[] {
  if (form.kind === 'text' && form.type.name === 'io.debezium.data.Json') return [Buffer.from(UNAVAILABLE_MAP, 'latin1')];
  if (form.kind === 'string' && form.type.parameters?.[SOURCE_TYPE] === 'HSTORE')
    return [Buffer.from(form.render(UNAVAILABLE_MAP), 'latin1')];
  if (form.kind !== 'array') return NONE;
  const { items } = form;
  const codes = Buffer.from(UNAVAILABLE, 'latin1');
  const element = (write: (out: Slab) => void): string => {
    const out = new Slab(128);
    write(out);
    return out.take().toString('latin1');
  };
  if (items.kind === 'integer')
    return [
      rendered(
        form,
        [...codes].map((code) => element((out) => items.render(out, code))),
      ),
    ];
  if (items.kind === 'bytes') return [rendered(form, [element((out) => items.render(out, codes, 0, codes.length))])];
  return items.kind === 'text' ? [rendered(form, [UNAVAILABLE]), rendered(form, [UNAVAILABLE_UUID])] : NONE;
}

function rendered(form: Form & { readonly kind: 'array' }, elements: readonly string[]): Buffer {
  return Buffer.from(form.render(elements), 'latin1');
}

export function isOneOf(texts: readonly Buffer[], b: Buffer, from: number, to: number): boolean {
  for (const text of texts) if (text.length === to - from && text.compare(b, from, to) === 0) return true;
  return false;
}

/** @throws PipelineError CF-3006 for an array that came as the name of a Java object. */
export function refuseJavaArray(column: string, b: Buffer, from: number, to: number): void {
  const value = b.subarray(from, to);
  if (!value.includes(JAVA_ARRAY_BEGINS) || !JAVA_ARRAY.test(value.toString('latin1'))) return;
  throw new PipelineError('CF-3006', `column ${column} holds an array of several dimensions, which the Debezium connector cannot carry`, {
    remedy: 'Name the column under drop: in the file and in column.exclude.list of the connector, or read the source without Debezium.',
  });
}
