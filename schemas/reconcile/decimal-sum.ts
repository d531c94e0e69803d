/**
 * The exact sum of numbers as PostgreSQL's sum(numeric) gives it, kept while values come and go. Guarantee: after any additions and
 * removals, in any order, the same as of what is left.
 */

export class DecimalSum {
  #digits = 0n;
  #scale = 0;
  #values = 0;
  readonly #special = { NaN: 0, Infinity: 0, '-Infinity': 0 };

  /** @param text As PostgreSQL prints an integer or numeric; NULL counts as nothing. */
  add(text: string | null, sign: 1 | -1): void {
    if (text === null) return;
    this.#values += sign;
    if (text === 'NaN' || text === 'Infinity' || text === '-Infinity') {
      this.#special[text] += sign;
      return;
    }
    const point = text.indexOf('.');
    const scale = point < 0 ? 0 : text.length - point - 1;
    let digits = BigInt(point < 0 ? text : text.slice(0, point) + text.slice(point + 1));
    if (scale > this.#scale) {
      this.#digits *= 10n ** BigInt(scale - this.#scale);
      this.#scale = scale;
    } else if (scale < this.#scale) digits *= 10n ** BigInt(this.#scale - scale);
    this.#digits += sign === 1 ? digits : -digits;
  }

  clear(): void {
    this.#digits = 0n;
    this.#scale = 0;
    this.#values = 0;
    this.#special.NaN = this.#special.Infinity = this.#special['-Infinity'] = 0;
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
