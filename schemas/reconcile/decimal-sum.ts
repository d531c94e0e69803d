/**
 * The exact sum of numbers as PostgreSQL's sum(numeric) gives it, kept while values come and go. Guarantee: after any additions and
 * removals, in any order, the same as of what is left.
 */

const SPECIAL = ['NaN', 'Infinity', '-Infinity'] as const;

export class DecimalSum {
  #digits = 0n;
  #scale = 0;
  #values = 0;
  readonly #special = { NaN: 0, Infinity: 0, '-Infinity': 0 };

  /** @param text As PostgreSQL prints an integer, a numeric or a float (the decimal that its text is); NULL counts as nothing. */
  add(text: string | null, sign: 1 | -1): void {
    if (text === null) return;
    this.#values += sign;
    if (isSpecial(text)) {
      this.#special[text] += sign;
      return;
    }
    const power = text.indexOf('e');
    const mantissa = power < 0 ? text : text.slice(0, power);
    const point = mantissa.indexOf('.');
    const digits = BigInt(point < 0 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1));
    const exponent = power < 0 ? 0 : Number(text.slice(power + 1));
    this.#move(sign === 1 ? digits : -digits, (point < 0 ? 0 : mantissa.length - point - 1) - exponent);
  }

  /** All that the other one holds. */
  addAll(other: DecimalSum): void {
    this.#values += other.#values;
    for (const name of SPECIAL) this.#special[name] += other.#special[name];
    this.#move(other.#digits, other.#scale);
  }

  copy(): DecimalSum {
    const copy = new DecimalSum();
    copy.addAll(this);
    return copy;
  }

  clear(): void {
    this.#digits = 0n;
    this.#scale = 0;
    this.#values = 0;
    this.#special.NaN = this.#special.Infinity = this.#special['-Infinity'] = 0;
  }

  #move(digits: bigint, scale: number): void {
    if (scale > this.#scale) {
      this.#digits *= 10n ** BigInt(scale - this.#scale);
      this.#scale = scale;
    }
    this.#digits += scale < this.#scale ? digits * 10n ** BigInt(this.#scale - scale) : digits;
  }

  /** As `trim_scale(sum(…))` prints; null of no value. */
  get value(): string | null {
    const special = this.#special;
    if (this.#values === 0) return null;
    if (special.NaN > 0 || (special.Infinity > 0 && special['-Infinity'] > 0)) return 'NaN';
    if (special.Infinity > 0) return 'Infinity';
    if (special['-Infinity'] > 0) return '-Infinity';
    const size = this.#digits < 0n ? -this.#digits : this.#digits;
    const padded = size.toString().padStart(this.#scale + 1, '0');
    const fraction = padded.slice(padded.length - this.#scale).replace(/0+$/, '');
    const whole = padded.slice(0, padded.length - this.#scale);
    const text = this.#scale === 0 || fraction === '' ? whole : `${whole}.${fraction}`;
    return this.#digits < 0n ? `-${text}` : text;
  }
}

function isSpecial(text: string): text is (typeof SPECIAL)[number] {
  return text === 'NaN' || text === 'Infinity' || text === '-Infinity';
}
