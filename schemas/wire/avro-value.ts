/**
 * One value in Avro, by its form. Guarantee: `writeValue` says EXACT only of what `readValue` gives back byte for byte; when it says
 * NONE, nothing was written.
 */
import { type AvroCursor, writeLong, writeSize } from './avro-primitives.ts';
import { EXACT, type Form, NEAREST, NONE, type Outcome } from './form/form.ts';
import { readUnscaled, writeUnscaled } from './form/decimal.ts';
import { UNAVAILABLE } from './connect-type.ts';
import { Slab } from './slab.ts';

const rendered = new Slab(4096);
const binary = new Slab(4096);
const placeholder = Buffer.from(UNAVAILABLE, 'latin1');

function equals(b: Buffer, from: number, to: number): Outcome {
  const length = rendered.pos;
  if (length !== to - from) return NEAREST;
  const r = rendered.buffer;
  for (let i = 0; i < length; i++) if (r[i] !== b[from + i]) return NEAREST;
  return EXACT;
}

export function writeText(out: Slab, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  writeSize(out, bytes.length);
  out.bytes(bytes, 0, bytes.length);
}

// oxlint-disable-next-line max-params -- called per value: an options object would be allocated each time
export function writeValue(form: Form, out: Slab, b: Buffer, from: number, to: number): Outcome {
  switch (form.kind) {
    case 'text':
      writeSize(out, to - from);
      out.bytes(b, from, to);
      return EXACT;
    case 'integer': {
      const value = form.parse(b, from, to);
      if (value === undefined) return NONE;
      writeLong(out, value);
      if (form.strict) return EXACT;
      rendered.reset();
      form.render(rendered, value);
      return equals(b, from, to);
    }
    case 'boolean': {
      const value = form.parse(b, from, to);
      if (value === undefined) return NONE;
      out.byte(value ? 1 : 0);
      return EXACT;
    }
    case 'float':
      return writeFloat(form, out, b.subarray(from, to));
    case 'bytes': {
      binary.reset();
      if (!form.parse(b, from, to, binary)) return NONE;
      writeSize(out, binary.pos);
      out.bytes(binary.buffer, 0, binary.pos);
      if (form.strict) return EXACT;
      rendered.reset();
      form.render(rendered, binary.buffer, 0, binary.pos);
      return equals(b, from, to);
    }
    case 'string':
      if (form.direct !== undefined) {
        binary.reset();
        if (form.direct.write(b, from, to, binary)) {
          writeSize(out, binary.pos);
          out.bytes(binary.buffer, 0, binary.pos);
          return EXACT;
        }
      }
      return writeByText(form, out, b.toString('utf8', from, to));
    default:
      return writeByText(form, out, b.toString('utf8', from, to));
  }
}

function writeFloat(form: Form & { kind: 'float' }, out: Slab, text: Buffer): Outcome {
  const value = form.parse(text, 0, text.length);
  if (value === undefined) return NONE;
  out.room(8);
  out.pos = form.single ? out.buffer.writeFloatLE(value, out.pos) : out.buffer.writeDoubleLE(value, out.pos);
  rendered.reset();
  form.render(rendered, value);
  return equals(text, 0, text.length);
}

function writeByText(form: Form, out: Slab, text: string): Outcome {
  switch (form.kind) {
    case 'string': {
      const value = form.parse(text);
      if (value === undefined) return NONE;
      writeText(out, value);
      return form.render(value) === text ? EXACT : NEAREST;
    }
    case 'scaled': {
      const value = form.parse(text);
      if (value === undefined) return NONE;
      writeLong(out, value.scale);
      binary.reset();
      writeUnscaled(binary, value.unscaled);
      writeSize(out, binary.pos);
      out.bytes(binary.buffer, 0, binary.pos);
      return form.render(value.scale, value.unscaled) === text ? EXACT : NEAREST;
    }
    case 'array':
      return writeArray(form, out, text);
    default:
      return NONE;
  }
}

/** Elements without a form become null; the whole array is then not exact. */
function writeArray(form: Form & { kind: 'array' }, out: Slab, text: string): Outcome {
  const elements = form.parse(text);
  if (elements === undefined) return NONE;
  let outcome: Outcome = form.render(elements) === text ? EXACT : NEAREST;
  if (elements.length > 0) writeSize(out, elements.length);
  for (const element of elements) {
    if (element === null) {
      out.byte(0);
      continue;
    }
    const bytes = Buffer.from(element, 'utf8');
    const before = out.used;
    out.byte(2);
    const one = writeValue(form.items, out, bytes, 0, bytes.length);
    if (one === NONE) {
      out.rewind(before);
      out.byte(0);
    }
    if (one !== EXACT) outcome = NEAREST;
  }
  out.byte(0);
  return outcome;
}

/** What stands in a required field that has no value: the placeholder where it is text or bytes, else nothing of its type. */
export function writePlaceholder(form: Form, out: Slab): void {
  switch (form.kind) {
    case 'text':
    case 'string':
    case 'bytes':
      if (form.type.base === 'bytes' && form.type.name !== undefined) writeSize(out, 0);
      else {
        writeSize(out, placeholder.length);
        out.bytes(placeholder, 0, placeholder.length);
      }
      return;
    case 'float':
      out.room(8);
      out.buffer.fill(0, out.pos, out.pos + 8);
      out.pos += form.single ? 4 : 8;
      return;
    case 'scaled':
      out.byte(0);
      out.byte(0);
      return;
    default:
      out.byte(0);
  }
}

/** Debezium's own placeholder exists for texts and bytes without a semantic type of their own. */
export function hasPlaceholder(form: Form): boolean {
  return form.kind === 'text' || form.kind === 'string' || (form.kind === 'bytes' && form.type.name === undefined);
}

export function isPlaceholder(b: Buffer, from: number, to: number): boolean {
  return to - from === placeholder.length && b[from] === 0x5f && b.compare(placeholder, 0, placeholder.length, from, to) === 0;
}

/** Reads a value of this form and writes its text. */
export function readValue(form: Form, cursor: AvroCursor, out: Slab): void {
  switch (form.kind) {
    case 'text': {
      const start = cursor.span();
      out.bytes(cursor.b, start, cursor.at);
      return;
    }
    case 'integer':
      form.render(out, cursor.long());
      return;
    case 'boolean':
      form.render(out, cursor.b[cursor.at++] === 1);
      return;
    case 'float':
      form.render(out, form.single ? cursor.float() : cursor.double());
      return;
    case 'bytes': {
      const start = cursor.span();
      form.render(out, cursor.b, start, cursor.at);
      return;
    }
    case 'string': {
      const start = cursor.span();
      if (form.direct?.read(cursor.b, start, cursor.at, out) === true) return;
      out.utf8(form.render(cursor.b.toString('utf8', start, cursor.at)));
      return;
    }
    case 'scaled': {
      const scale = cursor.size();
      const start = cursor.span();
      out.ascii(form.render(scale, BigInt(readUnscaled(cursor.b, start, cursor.at))));
      return;
    }
    default:
      throw new Error(`a value of kind ${form.kind} is read from its schema`);
  }
}
