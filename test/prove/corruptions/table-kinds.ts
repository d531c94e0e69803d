/**
 * Tables of each kind, and how a row of each is written, found and spoilt. Every row is one of a number: multiples of three are left alone by
 * the writer (so that nothing overwrites what is done to them), and of those the multiples of thirty are not there at all.
 */

export interface TableKind {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** What stands under `tables:`. */
  readonly entry: string;
  readonly source: string;
  readonly target: string;
  /** Of 1: how large it is. */
  readonly size: number;
  /** Of the writes, in proportion. */
  readonly share: number;
  /** The source's key, and its value for a number n. */
  readonly key: string;
  readonly keyOf: string;
  /** A source row for a number n. */
  readonly row: string;
  /** What an update sets. */
  readonly set: string;
  /** The target's row of a number. */
  readonly find: (n: number) => string;
  /** What names a row of the target, as a select list; of a table without a key nothing. */
  readonly named: readonly string[];
  /** What an added row is named by, where its columns do not say it. */
  readonly addedKey?: (n: number) => Readonly<Record<string, string>>;
  /** A target column and another value for it. */
  readonly cells: readonly (readonly [column: string, value: string])[];
  /** A row that the source does not have; undefined: left to another kind with the same target. */
  readonly add: ((n: number) => string) | undefined;
  /** Of which source tables a row that goes is missing; its own when absent. */
  readonly parts?: readonly string[];
  /** A source column that takes any text, and what sets it to one. */
  readonly text: string;
  readonly setText: (text: string) => string;
  /** Of a change of its text that does not arrive as it was: what the target's rows are told as. Absent: one that differs in that column. */
  readonly strayed?: (n: number, asked: string, arrived: string | undefined) => readonly StrayedRow[];
  /** All rows of the target that one of the source makes; `find` when absent. */
  readonly findAll?: (n: number) => string;
}

export interface StrayedRow {
  readonly key: Readonly<Record<string, string>> | null;
  readonly kind: 'missing' | 'extra';
}

const PLAIN = 'v int NOT NULL, label text';
const CELLS = [
  ['v', 'v - 1000000'],
  ['label', `coalesce(label, '') || '?'`],
] as const;

function plain(name: string, given: Partial<TableKind> & { readonly keyType?: string }): TableKind {
  const { keyType = 'int8' } = given;
  return {
    name,
    from: `public.${name}`,
    to: `public.${name}`,
    entry: `  - { from: public.${name} }`,
    source: `CREATE TABLE ${name} (id ${keyType} PRIMARY KEY, ${PLAIN})`,
    target: `CREATE TABLE ${name} (id ${keyType} PRIMARY KEY, ${PLAIN})`,
    size: 0.01,
    share: 1,
    key: 'id',
    keyOf: 'n',
    row: `${given.keyOf ?? 'n'}, n, 'row ' || n`,
    set: `v = v + 1, label = 'w' || v`,
    find: (n) => `id = (SELECT ${given.keyOf ?? 'n'} FROM (VALUES (${n})) x(n))`,
    named: ['id::text AS id'],
    cells: CELLS,
    add: (n) => `INSERT INTO ${name} SELECT ${given.keyOf ?? 'n'}, 0, 'never there' FROM (VALUES (${n})) x(n)`,
    text: 'label',
    setText: (text) => `${given.text ?? 'label'} = '${text}'`,
    ...given,
  };
}

function shard(name: 'eu' | 'us'): TableKind {
  return {
    ...plain(`${name}_item`, {}),
    from: `${name}.item`,
    to: 'public.item',
    entry: `  - { from: ${name}.item, to: public.item, set: { shard: { value: ${name} } } }`,
    source: `CREATE SCHEMA ${name}; CREATE TABLE ${name}.item (id int PRIMARY KEY, ${PLAIN})`,
    target: `CREATE TABLE IF NOT EXISTS item (shard text, id int, ${PLAIN}, PRIMARY KEY (shard, id))`,
    find: (n) => `shard = '${name}' AND id = ${n}`,
    add: (n) => `INSERT INTO item VALUES ('${name}', ${n}, 0, 'never there')`,
  };
}

const PERSON = `CREATE TABLE IF NOT EXISTS person (id int PRIMARY KEY, email text, notes text, nick text, has_profile boolean)`;
const HALVES = ['public.account', 'public.profile'];

export const TABLE_KINDS: readonly TableKind[] = [
  plain('big', { size: 1, share: 6 }),
  plain('by_uuid', { keyType: 'uuid', keyOf: 'md5(n::text)::uuid', size: 0.2, share: 2 }),
  plain('by_text', { keyType: 'text', keyOf: `'key ' || n` }),
  plain('pair', {
    source: `CREATE TABLE pair (a int, b text, ${PLAIN}, PRIMARY KEY (a, b))`,
    target: `CREATE TABLE pair (a int, b text, ${PLAIN}, PRIMARY KEY (a, b))`,
    key: 'a, b',
    keyOf: `n / 4, 'b' || n % 4`,
    row: `n / 4, 'b' || n % 4, n, 'row ' || n`,
    find: (n) => `a = ${n} / 4 AND b = 'b' || ${n} % 4`,
    named: ['a::text AS a', 'b'],
    add: (n) => `INSERT INTO pair VALUES (${n} / 4, 'b' || ${n} % 4, 0, 'never there')`,
  }),
  plain('loose', {
    source: `CREATE TABLE loose (id int, ${PLAIN}); CREATE INDEX ON loose (id); ALTER TABLE loose REPLICA IDENTITY FULL`,
    target: `CREATE TABLE loose (id int, ${PLAIN}); CREATE INDEX ON loose (id)`,
    named: [],
    strayed: () => [
      { key: null, kind: 'missing' },
      { key: null, kind: 'extra' },
    ],
  }),
  plain('event', {
    source: `CREATE TABLE event (id int8 PRIMARY KEY, ${PLAIN}) PARTITION BY RANGE (id); CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (MINVALUE) TO (700);
      CREATE TABLE event_high PARTITION OF event FOR VALUES FROM (700) TO (MAXVALUE)`,
  }),
  plain('chosen', {
    entry: '  - { from: public.chosen, where: { kind: { not: draft } } }',
    source: `CREATE TABLE chosen (id int8 PRIMARY KEY, ${PLAIN}, kind text NOT NULL); ALTER TABLE chosen REPLICA IDENTITY FULL`,
    target: `CREATE TABLE chosen (id int8 PRIMARY KEY, ${PLAIN}, kind text NOT NULL)`,
    row: `n, n, 'row ' || n, CASE WHEN n % 3 = 1 AND n % 2 = 0 THEN 'draft' ELSE 'live' END`,
    set: `v = v + 1, kind = CASE WHEN kind = 'live' THEN 'draft' ELSE 'live' END`,
    add: (n) => `INSERT INTO chosen VALUES (${n}, 0, 'never there', 'live')`,
  }),
  plain('computed', {
    entry: `  - from: public.computed
    set:
      label: { from: label, steps: [trim, upper] }
      half: { from: v, steps: [{ decimal: { divide: 2, scale: 1 } }] }
      origin: { value: legacy }`,
    target: `CREATE TABLE computed (id int8 PRIMARY KEY, ${PLAIN}, half numeric(20, 1), origin text NOT NULL)`,
    cells: [...CELLS, ['half', 'half + 0.5'], ['origin', `'nobody'`]],
    add: (n) => `INSERT INTO computed VALUES (${n}, 0, 'NEVER THERE', 0, 'legacy')`,
  }),
  plain('bundle', {
    to: 'public.bundle_item',
    entry: `  - from: public.bundle
    to: public.bundle_item
    columns: { id: bundle_id }
    unmapped: ignore
    explode: { column: items, fields: { sku: sku, qty: quantity }, ordinal: place }`,
    source: `CREATE TABLE bundle (id int PRIMARY KEY, v int, items jsonb)`,
    target: `CREATE TABLE bundle_item (bundle_id int, sku text, quantity int, place int, PRIMARY KEY (bundle_id, sku))`,
    row: `n, n, jsonb_build_array(jsonb_build_object('sku', 'a', 'qty', n), jsonb_build_object('sku', 'b', 'qty', 1), jsonb_build_object('sku', 'c', 'qty', 2))`,
    set: `v = v + 1, items = CASE WHEN v % 5 = 0 THEN jsonb_build_array(jsonb_build_object('sku', 'b', 'qty', v))
      ELSE jsonb_build_array(jsonb_build_object('sku', 'a', 'qty', v), jsonb_build_object('sku', 'b', 'qty', v % 7)) END`,
    find: (n) => `bundle_id = ${n} AND sku = 'b'`,
    named: ['bundle_id::text AS bundle_id', 'sku'],
    cells: [
      ['quantity', 'quantity + 1'],
      ['place', 'place + 10'],
    ],
    text: 'items',
    setText: (text) => `items = jsonb_set(items, '{1,sku}', '"${text}"')`,
    strayed: (n, asked, arrived = 'b') => [
      { key: { bundle_id: String(n), sku: asked }, kind: 'missing' },
      { key: { bundle_id: String(n), sku: arrived }, kind: 'extra' },
    ],
    findAll: (n) => `bundle_id = ${n}`,
    // Of a parent that is there, and of one that is not.
    add: (n) => `INSERT INTO bundle_item VALUES (${n % 60 === 0 ? n : n + 3}, 'never', 1, 4)`,
  }),
  plain('soft', {
    entry: '  - { from: public.soft, deletes: { soft: { column: state, value: removed, alive: active, at: gone_at } } }',
    target: `CREATE TABLE soft (id int8 PRIMARY KEY, ${PLAIN}, state text NOT NULL, gone_at timestamptz)`,
    add: (n) => `INSERT INTO soft VALUES (${n}, 0, 'never there', 'active')`,
  }),
  plain('customer', {
    to: 'public.client',
    entry: '  - { from: public.customer, to: public.client, key: { surrogate: id }, columns: { no: legacy } }',
    source: `CREATE TABLE customer (no int PRIMARY KEY, ${PLAIN})`,
    target: `CREATE TABLE client (id bigserial PRIMARY KEY, legacy int UNIQUE NOT NULL, ${PLAIN})`,
    key: 'no',
    find: (n) => `legacy = ${n}`,
    // Of ids that the target gave, verify says which key they stand for.
    named: ['legacy::text AS id'],
    addedKey: (n) => ({ id: `no key has the id ${1_000_000_000 + n}` }),
    add: (n) => `INSERT INTO client VALUES (${1_000_000_000 + n}, ${n}, 0, 'never there')`,
  }),
  shard('eu'),
  shard('us'),
  plain('account', {
    to: 'public.person',
    entry: '  - { from: public.account, to: public.person }',
    source: 'CREATE TABLE account (id int PRIMARY KEY, email text NOT NULL, notes text)',
    target: PERSON,
    row: `n, 'e' || n, 'n' || n`,
    set: `email = 'w' || length(email) || random()`,
    text: 'email',
    cells: [
      ['email', `email || '?'`],
      ['notes', 'NULL'],
    ],
    add: (n) => `INSERT INTO person (id, notes) VALUES (${n}, 'never there')`,
    parts: HALVES,
  }),
  plain('profile', {
    to: 'public.person',
    entry: `  - { from: public.profile, to: public.person, columns: { account_id: id }, set: { has_profile: { value: true } } }`,
    source: 'CREATE TABLE profile (account_id int PRIMARY KEY, nick text)',
    target: PERSON,
    key: 'account_id',
    row: `n, 'p' || n`,
    set: `nick = 'w' || random()`,
    text: 'nick',
    cells: [['nick', `nick || '?'`]],
    add: undefined,
    parts: HALVES,
  }),
];

export const QUIET_EVERY = 3;
export const ABSENT_EVERY = 30;

const ROWS_MIN = 600;

export function rowsOf({ size }: TableKind, rows: number): number {
  return Math.max(ROWS_MIN, Math.round(rows * size));
}

export function fillSql(kind: TableKind, rows: number): string {
  return `INSERT INTO ${kind.from} SELECT ${kind.row} FROM generate_series(1, ${rowsOf(kind, rows)}) n WHERE n % ${ABSENT_EVERY} > 0`;
}

/** The source's rows of these numbers. */
export function whereSql({ key, keyOf }: TableKind, numbers: readonly number[]): string {
  return `(${key}) IN (SELECT ${keyOf} FROM unnest('{${numbers.join(',')}}'::int[]) n)`;
}
