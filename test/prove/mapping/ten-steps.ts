/**
 * A table as people migrate it, mapped without a change, and by ten steps of the usual kinds. Guarantee: rows are the same for the same seed, no two
 * alike, and hold what steps have to look at: blanks, accents, capitals, cents, summer and winter times, nested JSON.
 */
import type { Random } from '#test/support/random.ts';

export const SOURCE_SQL = `CREATE TABLE customer (
  id bigint PRIMARY KEY, first_name text NOT NULL, last_name text NOT NULL, mail text NOT NULL, st char(1) NOT NULL,
  cents bigint NOT NULL, created timestamp NOT NULL, details jsonb NOT NULL, note text, updated timestamptz NOT NULL); ALTER TABLE customer REPLICA IDENTITY FULL`;

export const TARGET_SQL = `CREATE TABLE customer (
  id bigint PRIMARY KEY, note text, updated timestamptz NOT NULL, name text NOT NULL, state text NOT NULL,
  balance numeric(14,1) NOT NULL, created_at timestamptz NOT NULL, town text NOT NULL, mail_hash text NOT NULL, slow text)`;

/** Concat, trim, normalise; map; rounded decimal; zone; extract, default; lower, hash. */
export const TEN_STEPS = `  - from: public.customer
    drop: [first_name, last_name, mail, st, cents, created, details]
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }, trim, { normalise: NFC }] }
      state: { from: st, steps: [{ map: { values: { A: active, S: suspended, C: closed }, else: fail } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 1, round: half-even } }] }
      created_at: { from: created, steps: [{ zone: { from: America/New_York, ambiguous: earlier, skipped: later } }] }
      town: { from: details, steps: [{ extract: /address/town }, { default: unknown }] }
      mail_hash: { from: mail, steps: [lower, { hash: sha256 }] }
`;

/** Below TEN_STEPS. */
export const SLOW_STEP = `      slow: { from: st, steps: [{ call: "./slow.ts#slow" }] }
`;

const FIRST = ['Ada', 'José', 'Grace', 'Zoë', 'Edsger', 'Barbara', 'Ken', 'Łukasz'] as const;
const LAST = ['Lovelace', 'Núñez', 'Hopper', 'van den Berg', 'Dijkstra', 'Liskov', 'Thompson ', 'Nowak'] as const;
const TOWNS = ['Berlin', 'São Paulo', 'New York', 'Warszawa', 'Haarlem', 'Zürich'] as const;
const DAY_MS = 86_400_000;
const FROM_MS = Date.UTC(2016, 0, 1);
const DAYS = 3_650;

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.between(0, from.length - 1)]!;
}

/** In the order of the source's columns. */
export function customerRow(random: Random, id: number): readonly (string | null)[] {
  const first = pick(random, FIRST);
  const last = pick(random, LAST);
  const created = new Date(FROM_MS + random.between(0, DAYS) * DAY_MS + random.between(0, DAY_MS)).toISOString();
  const town = random.chance(0.1) ? '' : `"town": ${JSON.stringify(pick(random, TOWNS))}, `;
  const details = `{"address": {"zip": "${10_000 + random.between(0, 80_000)}", ${town}"street": "Main Street ${random.between(0, 200)}"}, "visits": ${random.between(0, 900)}, "tags": ["new", "web"]}`;
  return [
    String(id),
    first,
    last,
    `${first}.${last.trim()}.${id}@Example.org`,
    pick(random, ['A', 'S', 'C']),
    String(random.between(0, 10_000_000)),
    // A minute that no clock leaves out or shows twice: those are at night.
    `${created.slice(0, 10)} 1${created.slice(12, 19)}.${String(random.between(0, 999_999)).padStart(6, '0')}`,
    details,
    random.chance(0.3) ? null : `as it is, ${'x'.repeat(random.between(0, 60))}`,
    `${created.slice(0, 10)} ${created.slice(11, 19)}+00`,
  ];
}
