import { describe, expect, test } from 'vitest';
import { renderInitFile } from '#schemas/config/init-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { compileMapping, type MappingResult } from '#schemas/mapping/compile-mapping.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf, told } from '#test/support/compile.ts';

const ENV = { SOURCE_URL: 'postgres://h/a', TARGET_URL: 'postgres://h/b', PII_KEY: 'sixteen characters' };

/** From `tables:` on. */
function tablesOf(text: string): string[] {
  const lines = text.trimEnd().split('\n');
  return lines.slice(lines.indexOf('tables:') + 1);
}

function compileText(text: string, source: Catalog, target: Catalog): MappingResult {
  const { file, findings } = readMigrationFile({ path: 'x', text, env: ENV });
  return file === undefined ? { findings } : compileMapping(file, source, target);
}

function errorsOf(findings: readonly Finding[]): string[] {
  return told(findings.filter(({ severity }) => severity === 'error'));
}

describe('the first file', () => {
  test('is the smallest one when everything matches by name', async () => {
    const [source, target] = [
      await catalogOf('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)', 14),
      await catalogOf('CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY)'),
    ];
    const { text, questions } = renderInitFile(source, target);
    expect(text.split('\n').map((line) => line.replace(/, PostgreSQL .*/, ''))).toEqual([
      'crossfade: 1',
      'name: postgres',
      'source: { postgres: "${SOURCE_URL}" } # postgres',
      'target: { postgres: "${TARGET_URL}" } # postgres',
      'tables:',
      '  - from: public.* # 2 tables match by name',
      '',
    ]);
    expect(questions).toBe(0);
    expect(compileText(text, source, target)).toMatchObject({ findings: [], mapping: { tables: [{}, {}] } });
  });

  test('matches tables and columns that are only spelt otherwise, says why, and then fits as written', async () => {
    const source = await catalogOf(
      `CREATE TABLE "Invoices" ("InvoiceId" int PRIMARY KEY, "BillingCity" text, "UnitPrices" numeric(10,2), customer_title text, n int);
       CREATE TABLE people (id int PRIMARY KEY, born_in text); CREATE TABLE same (id int PRIMARY KEY)`,
    );
    const target = await catalogOf(
      `CREATE TABLE invoice (invoice_id bigint PRIMARY KEY, billing_city text, unit_price numeric(12,2), "Customer_Title" text, "invoiceN" int);
       CREATE TABLE person (id int PRIMARY KEY, born_in text); CREATE TABLE same (id int PRIMARY KEY)`,
    );
    const { text, questions } = renderInitFile(source, target);
    expect(tablesOf(text)).toEqual([
      '  - from: public.* # 1 table matches by name',
      '  - from: public.Invoices # singular and plural',
      '    to: public.invoice',
      '    columns:',
      '      InvoiceId: invoice_id # spelt otherwise',
      '      BillingCity: billing_city # spelt otherwise',
      '      UnitPrices: unit_price # singular and plural',
      '      customer_title: Customer_Title # other case',
      "      n: invoiceN # but for the table's name",
      '  - from: public.people # singular and plural',
      '    to: public.person',
    ]);
    expect(questions).toBe(0);
    expect(compileText(text, source, target).findings).toEqual([]);
  });

  test('makes no match of two names that could be one, nor of types that do not fit', async () => {
    const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, "userId" int, user_ids int, "Total" money)');
    const target = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, user_id int, total boolean)');
    const { text, questions } = renderInitFile(source, target);
    expect(tablesOf(text)).toEqual([
      '  - from: public.a',
      '    # ? "userId" (integer) has no column of that name in public.a. Is it "user_id" (integer)? Write columns: { "userId": "user_id" } or drop: ["userId"]',
      '    # ? "user_ids" (integer) has no column of that name in public.a. Is it "user_id" (integer)? Write columns: { "user_ids": "user_id" } or drop: ["user_ids"]',
      '    # ? "Total" (money) has no column of that name in public.a. Is it "total" (boolean)? Write columns: { "Total": "total" } or drop: ["Total"]',
      '    # nothing goes to "user_id" (null), "total" (null) of the target',
    ]);
    expect(questions).toBe(3);
    expect(text).toContain('# 3 questions are open: the lines that begin with "# ?".\n');
  });

  test('declares the casts and drops that lose nothing, and asks about the others', async () => {
    const types = "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE mood AS ENUM ('sad', 'ok')";
    const source = await catalogOf(
      `${types}; CREATE TABLE a (id int PRIMARY KEY, code int, feeling mood, m text, p int, total int, cut text, at timestamp, kept positive)`,
    );
    const target = await catalogOf(
      `${types}; CREATE TABLE a (id int PRIMARY KEY, code text, feeling text, m mood, p positive, total int GENERATED ALWAYS AS (p * 2) STORED, cut varchar(5), at timestamptz, kept positive)`,
    );
    const { text } = renderInitFile(source, target);
    expect(tablesOf(text)).toEqual([
      '  - from: public.a',
      '    columns:',
      '      code: { cast: text } # integer → text: keeps every value, as text',
      '      feeling: { cast: text } # public.mood → text: keeps every value, as text',
      '      m: { cast: public.mood } # text → public.mood: a value that is no label of public.mood halts the table',
      '      p: { cast: public.positive } # integer → public.positive: a value that the domain public.positive does not allow halts the table',
      '    drop:',
      '      - total # the target computes its own',
      '    # ? "cut" of public.a is text, "cut" of public.a is character varying(5): longer values would be cut. Change the type on the target, or declare it under columns: `cut: { cast: character varying(5) }`.',
      '    # ? "at" of public.a is timestamp without time zone, "at" of public.a is timestamp with time zone: which moment a local time means depends on its time zone. Change the type on the target, or declare it under columns: `at: { zone: Europe/Berlin }`.',
    ]);
    expect(errorsOf(compileText(text, source, target).findings)).toHaveLength(2);
  });

  test('leaves no table out without a question, each with its candidates', async () => {
    const source = await catalogOf(
      `CREATE TABLE clients (id int PRIMARY KEY, title text, city text, since date); CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE pets (id int PRIMARY KEY, kind text, owner text);
       CREATE TABLE "Nobody.s" (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int PRIMARY KEY)`,
    );
    const target = await catalogOf(
      'CREATE TABLE buyer (id int PRIMARY KEY, title text, city text, level int); CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE pet (tag int PRIMARY KEY, race text); CREATE TABLE u (id int PRIMARY KEY)',
    );
    const { text, questions } = renderInitFile(source, target, { name: 'shop' });
    expect(tablesOf(text)).toEqual([
      '  - from: public.* # 1 table matches by name',
      '    exclude:',
      '      # ? public."Nobody.s" has no table of that name on the target and is left out. Name its target with `to:`, or leave it so.',
      '      - "public.\\"Nobody.s\\""',
      '      # ? public.clients has no table of that name on the target and is left out. Is it public.buyer (3 of its 4 columns)? Then add - { from: public.clients, to: public.buyer }',
      '      - public.clients',
      '      # ? public.pets has no table of that name on the target and is left out. Is it public.pet (a name like it, 0 of its 3 columns)? Then add - { from: public.pets, to: public.pet }',
      '      - public.pets',
      '      # ? public.u is unlogged, so its changes cannot be followed. Leave it out, or SET LOGGED?',
      '      - public.u',
      '',
      '# Nothing goes to these tables of the target: public.buyer, public.pet, public.u',
    ]);
    expect(questions).toBe(4);
    expect(compileText(text, source, target).findings).toEqual([]);
  });

  test('finds tables that moved to another schema, and says when the target is empty', async () => {
    const source = await catalogOf('CREATE SCHEMA old; CREATE TABLE old.a (id int PRIMARY KEY); CREATE TABLE old.b (id int PRIMARY KEY)');
    const moved = renderInitFile(
      source,
      await catalogOf('CREATE SCHEMA new; CREATE TABLE new.a (id int PRIMARY KEY); CREATE TABLE new.b (id int PRIMARY KEY)'),
    );
    expect(tablesOf(moved.text)).toEqual(['  - from: old.* # 2 tables match by name', '    to: new.*']);
    const empty = renderInitFile(source, await catalogOf('SELECT 1'));
    expect(tablesOf(empty.text)).toEqual([
      '  - from: old.* # 2 tables, none on the target yet',
      '    # ? The target has no table yet: `crossfade check --ddl` prints CREATE TABLE for all of them.',
    ]);
  });

  test('marks what looks like personal data, and its proposals work as they stand', async () => {
    const ddl = `CREATE TABLE customer (id int PRIMARY KEY, email text, "homePhone" text, first_name text, birth_date date, born timestamp, dob timestamptz, last_ip inet,
      iban varchar(34), card_number text, ssn text, password_hash text, email_verified boolean, address_id int, postal_code text, note text);
      CREATE TABLE login (user_name text PRIMARY KEY)`;
    const catalog = await catalogOf(ddl);
    const { text, questions } = renderInitFile(catalog, catalog);
    expect(tablesOf(text)).toEqual([
      '  - from: public.customer',
      '    # PII? "last_ip" looks like: network address; it moves as it is, and its type on the target takes no masked text: drop it, or give it `value: null` under set',
      '    # PII? These look like personal data and move as they are. To mask one, uncomment `set:` and its line:',
      '    # set:',
      '    #   email: { from: email, steps: [{ tokenise: { key: "${PII_KEY}" } }] } # e-mail address',
      '    #   homePhone: { from: homePhone, steps: [{ tokenise: { key: "${PII_KEY}" } }] } # phone number',
      '    #   first_name: { from: first_name, steps: [{ mask: { keepStart: 1 } }] } # name',
      '    #   birth_date: { from: birth_date, steps: [{ cel: \'row.birth_date.substring(0, 4) + "-01-01"\' }] } # birth date',
      '    #   born: { from: born, steps: [{ cel: \'row.born.substring(0, 4) + "-01-01 00:00:00"\' }] } # birth date',
      '    #   dob: { from: dob, steps: [{ cel: \'row.dob.substring(0, 4) + "-01-01 00:00:00+00"\' }] } # birth date',
      '    #   iban: { from: iban, steps: [{ tokenise: { key: "${PII_KEY}" } }] } # bank account',
      '    #   card_number: { from: card_number, steps: [{ tokenise: { key: "${PII_KEY}" } }] } # payment card',
      '    #   ssn: { from: ssn, steps: [{ tokenise: { key: "${PII_KEY}" } }] } # identity number',
      '    #   password_hash: { from: password_hash, steps: [{ mask: {} }] } # password or secret',
      '    #   postal_code: { from: postal_code, steps: [{ mask: { keepStart: 1 } }] } # postal address',
      '  - from: public.login',
      '    # PII? "user_name" looks like: name; it moves as it is, and is a key column, which no step can mask',
    ]);
    expect(questions).toBe(0);
    const masked = compileText(text.replaceAll(/^ {4}# (set:| {2}\S)/gm, '    $1'), catalog, catalog);
    expect(masked.findings).toEqual([]);
    expect(masked.mapping?.tables.find(({ to }) => to.name === 'customer')?.steps?.computed).toHaveLength(11);
  });

  test('asks about a column called __proto__ that would need a key of the file, and takes no other name for one that every object has', async () => {
    const names = ['constructor', 'toString', 'hasOwnProperty', '__proto__'];
    const tablesFor = (type: string): string =>
      [...names, 'valueOf']
        .map((table) => `CREATE TABLE "${table}" (id int PRIMARY KEY, ${names.map((name) => `"${name}" ${type}`).join(', ')});`)
        .join('');
    const [source, same, cast] = [await catalogOf(tablesFor('int')), await catalogOf(tablesFor('int')), await catalogOf(tablesFor('text'))];
    const plain = renderInitFile(source, same);
    expect(plain.questions).toBe(0);
    expect(compileText(plain.text, source, same).mapping?.tables.map(({ columns }) => columns.map(({ target }) => target))).toEqual(
      Array.from({ length: 5 }, () => ['id', ...names]),
    );
    const asked = renderInitFile(source, cast);
    expect(asked.questions).toBe(5);
    expect(asked.text).toContain('# ? "__proto__" needs a word (integer → text: ');
    expect(asked.text).toContain(', and no key of this file can be called so. Rename it on its server, ');
    expect(asked.text.match(/^ +constructor: \{ cast: text \}/gm)).toHaveLength(5);
    expect(asked.text).not.toMatch(/^ +"?__proto__"?:/m);
    // As the question says.
    const answered = asked.text.replaceAll('    columns:\n', '    drop: [__proto__]\n    columns:\n');
    const { mapping, findings } = compileText(answered, source, cast);
    expect(errorsOf(findings)).toEqual([]);
    expect(mapping?.tables.map(({ dropped, columns }) => [dropped, columns.length])).toEqual(
      Array.from({ length: 5 }, () => [['__proto__'], 4]),
    );
    const unmatched = renderInitFile(source, await catalogOf(tablesFor('int').replaceAll('"__proto__" int', 'other int')));
    expect(unmatched.text).toContain(
      '# ? "__proto__" (integer) has no column of that name in public.constructor, and no key of this file can be called so.',
    );
  });

  test('holds whatever names a catalogue has', async () => {
    const ddl = `CREATE TABLE "x
 - from: evil \${HOME}" (id int PRIMARY KEY, "a: {b} #c" text, "\${HOME}" text, "null" text, "__proto__" text, "Naïve ""col""" text);`;
    const source = await catalogOf(ddl.replace('"null" text', '"Null" text'));
    const { text } = renderInitFile(source, await catalogOf(ddl.replaceAll('text', 'varchar')));
    const { file, findings } = readMigrationFile({ path: 'x', text, env: ENV });
    expect(findings).toEqual([]);
    expect(file?.tables.map(({ from, columns }) => [from, Object.keys(columns)])).toEqual([['public.x\n - from: evil ${HOME}', ['Null']]]);
    const target = await catalogOf(ddl);
    expect(errorsOf(compileText(renderInitFile(source, target).text, source, target).findings)).toEqual([]);
  });
});
