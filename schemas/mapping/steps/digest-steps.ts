/**
 * Steps that hide a value. Guarantee: hash, HMAC and token are functions of the value's UTF-8 bytes (and the key) alone, the same as
 * PostgreSQL computes them; a token has the form of its value, no letter or digit of a value stands in it unreplaced (what the alphabets
 * do not have is refused), and within one form no two values get the same token.
 */
import { createHmac, hash } from 'node:crypto';
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { onText, StepRefusal, type Step } from './step.ts';

type Config<K extends keyof StepBlock> = NonNullable<StepBlock[K]>;

export function hashStep({ algorithm, encoding }: Config<'hash'>): Step {
  return onText((text) => hash(algorithm, text, encoding));
}

export function hmacStep({ key, algorithm, encoding }: Config<'hmac'>): Step {
  const secret = key.reveal();
  return onText((text) => createHmac(algorithm, secret).update(text, 'utf8').digest(encoding));
}

const ALPHABETS = ['0123456789', 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'] as const;
const PATTERN = ['9', 'a', 'A'] as const;
/** With the accents that stand by themselves in decomposed text. */
const LETTER_OR_DIGIT = /[\p{L}\p{N}\p{M}]/u;
/** The work grows by the square: some milliseconds for so many characters. */
const LENGTH_MAX = 4096;
/** Even, so that both halves are mixed alike. As many as NIST's FF3, whose halves are mixed as here: modulo, by addition. */
const ROUNDS = 8;

/** One character's place: which alphabet, and where in it. */
interface Symbol {
  readonly alphabet: number;
  readonly at: number;
}

export function tokeniseStep({ key }: Config<'tokenise'>): Step {
  const secret = key.reveal();
  return onText((text) => {
    if (text.length > LENGTH_MAX) throw new StepRefusal(`the value has more than ${LENGTH_MAX} characters`);
    const characters = Array.from(text);
    const symbols = characters.map(symbolOf);
    if (characters.some((one, i) => symbols[i] === undefined && LETTER_OR_DIGIT.test(one))) {
      throw new StepRefusal('the value has a letter or digit other than A to Z, a to z and 0 to 9, which would pass in clear');
    }
    const form = characters.map((one, i) => (symbols[i] === undefined ? one : PATTERN[symbols[i].alphabet]!)).join('');
    const replaced = permute(
      symbols.filter((symbol) => symbol !== undefined),
      (round, half, modulus) => draw(secret, `${round}:${half}:${form}`, modulus),
    );
    let next = 0;
    return characters.map((one, i) => (symbols[i] === undefined ? one : replaced[next++]!)).join('');
  });
}

function symbolOf(character: string): Symbol | undefined {
  for (const [alphabet, letters] of ALPHABETS.entries()) {
    const at = letters.indexOf(character);
    if (at >= 0) return { alphabet, at };
  }
  return undefined;
}

/** A Feistel network over two halves of the text, each read as one number: whatever `mix` gives, it can be undone. */
function permute(symbols: readonly Symbol[], mix: (round: number, half: bigint, modulus: bigint) => bigint): string[] {
  const middle = symbols.length >> 1;
  const [left, right] = [symbols.slice(0, middle), symbols.slice(middle)];
  let [a, b] = [numberOf(left), numberOf(right)];
  const [mostA, mostB] = [modulusOf(left), modulusOf(right)];
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) b = (b + mix(round, a, mostB)) % mostB;
    else a = (a + mix(round, b, mostA)) % mostA;
  }
  return [...lettersOf(a, left), ...lettersOf(b, right)];
}

function numberOf(symbols: readonly Symbol[]): bigint {
  return symbols.reduce((sum, { alphabet, at }) => sum * BigInt(ALPHABETS[alphabet]!.length) + BigInt(at), 0n);
}

function modulusOf(symbols: readonly Symbol[]): bigint {
  return symbols.reduce((product, { alphabet }) => product * BigInt(ALPHABETS[alphabet]!.length), 1n);
}

function lettersOf(value: bigint, symbols: readonly Symbol[]): string[] {
  let rest = value;
  return symbols
    .toReversed()
    .map(({ alphabet }) => {
      const letters = ALPHABETS[alphabet]!;
      const letter = letters[Number(rest % BigInt(letters.length))]!;
      rest /= BigInt(letters.length);
      return letter;
    })
    .toReversed();
}

/** More bits than the modulus has, so that no remainder is likelier than another by more than 2^-64. */
const SPARE_BITS = 64;
const BLOCK_BITS = 256;

function draw(secret: string, message: string, modulus: bigint): bigint {
  const blocks = Math.ceil((modulus.toString(16).length * 4 + SPARE_BITS) / BLOCK_BITS);
  let bits = '0x';
  for (let block = 0; block < blocks; block++) bits += createHmac('sha256', secret).update(`${block}:${message}`, 'utf8').digest('hex');
  return BigInt(bits) % modulus;
}
