/**
 * Text that was read in one encoding and is in another. Guarantee: only what is exactly the misread form is changed; bytes that are no
 * text of the right encoding follow the policy, and never become a replacement character.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { onText, StepFault, StepRefusal, type Step } from './step.ts';

type Charset = NonNullable<StepBlock['encoding']>['is'];

/** Characters of windows-1252 for its bytes 0x80 to 0x9f; the five that it leaves open stay control characters, as browsers read them. */
const HIGH =
  '\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178';
const HIGH_FROM = 0x80;
const BYTE_OF: ReadonlyMap<string, number> = new Map(Array.from(HIGH, (character, i) => [character, HIGH_FROM + i]));
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const PLAIN = /^[\u0000-\u007f]*$/; // oxlint-disable-line no-control-regex -- ASCII is the same in all three

export function encodingStep({ readAs, is, onError }: NonNullable<StepBlock['encoding']>): Step {
  if (readAs === is) throw new StepFault('readAs and is name the same encoding');
  return onText((text) => {
    if (PLAIN.test(text)) return text;
    const bytes = bytesOf(text, readAs);
    const mended = bytes === undefined ? undefined : textOf(bytes, is);
    if (mended !== undefined) return mended;
    if (onError === 'keep') return text;
    if (onError === 'null') return null;
    throw new StepRefusal(`the value is no ${is} that was read as ${readAs}`);
  });
}

/** Undefined where the encoding has no such character. */
function bytesOf(text: string, charset: Charset): Buffer | undefined {
  if (charset === 'utf-8') return Buffer.from(text, 'utf8');
  const bytes = Buffer.allocUnsafe(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const isOpen = charset === 'windows-1252' && code >= HIGH_FROM && code < HIGH_FROM + HIGH.length;
    const byte = code <= 0xff && !isOpen ? code : charset === 'windows-1252' ? BYTE_OF.get(text[i]!) : undefined;
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

function textOf(bytes: Buffer, charset: Charset): string | undefined {
  if (charset === 'utf-8') {
    try {
      return UTF8.decode(bytes);
    } catch {
      return undefined;
    }
  }
  const text = bytes.toString('latin1');
  if (charset === 'latin1') return text;
  return text.replaceAll(/[\u0080-\u009f]/g, (character) => HIGH[character.charCodeAt(0) - HIGH_FROM]!);
}
