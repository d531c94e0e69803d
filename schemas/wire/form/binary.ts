/** bytea and bit strings as bytes. Guarantee: every bit is carried; a bit string's own length is the type's, where it has one. */
import type { ConnectType } from '../connect-type.ts';
import type { BytesForm } from './form.ts';

const BACKSLASH = 0x5c;
const HEX = Buffer.from('0123456789abcdef', 'latin1');
const NIBBLE = new Int8Array(256).fill(-1);
HEX.forEach((c, i) => (NIBBLE[c] = i)); // lower case only: PostgreSQL's own

/** \x and hexadecimal digits. */
export function byteaForm(type: ConnectType): BytesForm {
  return {
    kind: 'bytes',
    type,
    strict: true,
    parse(b, from, to, out) {
      if ((to - from) % 2 !== 0 || b[from] !== BACKSLASH || b[from + 1] !== 0x78) return false;
      out.room((to - from) / 2);
      let at = out.pos;
      for (let p = from + 2; p < to; p += 2) {
        const byte = (NIBBLE[b[p]!]! << 4) | NIBBLE[b[p + 1]!]!;
        if (byte < 0) return false;
        out.buffer[at++] = byte;
      }
      out.pos = at;
      return true;
    },
    render(out, b, from, to) {
      out.room(2 + 2 * (to - from));
      const o = out.buffer;
      let at = out.pos;
      o[at++] = BACKSLASH;
      o[at++] = 0x78;
      for (let p = from; p < to; p++) {
        const byte = b[p]!;
        o[at++] = HEX[byte >> 4]!;
        o[at++] = HEX[byte & 15]!;
      }
      out.pos = at;
    },
  };
}

/** Debezium's Bits: the last bit of the text is the lowest one of the first byte. */
export function bitsForm(type: ConnectType): BytesForm {
  const length = Number(type.parameters?.['length'] ?? 0);
  return {
    kind: 'bytes',
    type,
    strict: false,
    parse(b, from, to, out) {
      const bytes = (to - from + 7) >> 3;
      out.room(bytes);
      out.buffer.fill(0, out.pos, out.pos + bytes);
      for (let p = to - 1, bit = 0; p >= from; p--, bit++) {
        const digit = b[p]! - 0x30;
        if (digit !== 0 && digit !== 1) return false;
        if (digit === 1) out.buffer[out.pos + (bit >> 3)]! |= 1 << (bit & 7);
      }
      out.pos += bytes;
      return true;
    },
    render(out, b, from, to) {
      const bits = length > 0 && length <= 8 * (to - from) ? length : 8 * (to - from);
      out.room(bits);
      for (let bit = bits - 1; bit >= 0; bit--) out.buffer[out.pos++] = 0x30 + ((b[from + (bit >> 3)]! >> (bit & 7)) & 1);
    },
  };
}
