/** Two tables whose target columns use most steps, and what SQL makes of them. */
/** Under REPLICA IDENTITY FULL, so that what is made of several columns can be made of an update that leaves one out. */
export const SOURCE: string = `CREATE TABLE person (
    id int PRIMARY KEY, first_name text, last_name text, state char(1) NOT NULL, cents bigint, born timestamp,
    phone text, note text, details jsonb, tags text[], body text);
  ALTER TABLE person REPLICA IDENTITY FULL;
  CREATE TABLE page (id bigint PRIMARY KEY, title text, body text, views int)`;

export const TARGET: string = `CREATE TABLE customer (
    customer_id int PRIMARY KEY, name text, state text NOT NULL, balance numeric(12,2), born timestamptz, phone_token text,
    note text NOT NULL, town text, summary jsonb, first_tag text, body_sha text, body text, origin text NOT NULL, masked text);
  CREATE TABLE page (id bigint PRIMARY KEY, title text NOT NULL, body_md5 char(32), views int, area text, popularity text)`;

export const TABLES: string = `tables:
  - from: public.person
    to: public.customer
    where: { state: { not: D } }
    columns: { id: customer_id, body: body }
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }, trim, { normalise: NFC }] }
      state: { from: state, steps: [{ map: { values: { A: active, S: suspended }, else: { value: closed } } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
      born: { from: born, steps: [{ zone: { from: America/New_York, ambiguous: later, skipped: later } }] }
      phone_token: { from: phone, steps: [{ tokenise: { key: "\${TOKEN_KEY}" } }] }
      note: { from: note, steps: [trim, { nullIf: "" }, { default: none }] }
      town: { from: details, steps: [{ extract: /address/town }, upper] }
      summary: { from: [id, first_name, details], steps: [object] }
      first_tag: { from: tags, steps: [{ element: 1 }] }
      body_sha: { from: body, steps: [{ hash: sha256 }] }
      origin: { value: legacy }
      masked: { from: phone, steps: [{ mask: { keepEnd: 2 } }] }
    drop: []
  - from: public.page
    set:
      title: { from: title, steps: [{ default: untitled }, lower] }
      body_md5: { from: body, steps: [{ hash: md5 }] }
      area: { from: title, steps: [{ split: { by: "/", take: 2 } }] }
      popularity: { from: views, steps: [{ call: "./functions.ts#popularity" }, upper] }
`;

export const FILL: string = `INSERT INTO person SELECT g, 'Ann' || g, CASE WHEN g % 7 > 0 THEN 'Smith ' END, substr('ASXD', 1 + g % 4, 1), g * 101 - 5000,
    timestamp '2024-03-10 01:00' + g * interval '7 minutes', '+1 555 ' || g, CASE g % 3 WHEN 0 THEN '  ' WHEN 1 THEN ' x ' END,
    jsonb_build_object('address', jsonb_build_object('town', 'town' || g), 'n', g::numeric * 12345678901234567890),
    CASE WHEN g % 5 > 0 THEN ARRAY['a,"' || g, NULL] END, (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 300) i)
  FROM generate_series(1, 3000) g`;
export const FILL_PAGES: string = `INSERT INTO page SELECT g, CASE WHEN g % 4 > 0 THEN 'Home/Area' || g || '/x' END,
    (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 300) i), 0 FROM generate_series(1, 500) g`;

/** What SQL makes of the source's rows where it can say the same. */
export const EXPECTED: string = `SELECT id AS customer_id, trim(concat_ws(' ', first_name, last_name)) AS name,
    CASE state WHEN 'A' THEN 'active' WHEN 'S' THEN 'suspended' ELSE 'closed' END AS state, (cents / 100.0)::numeric(12,2)::text AS balance,
    (born AT TIME ZONE 'America/New_York')::text AS born, coalesce(nullif(trim(note), ''), 'none') AS note,
    upper(details #>> '{address,town}') AS town, jsonb_build_object('id', id, 'first_name', first_name, 'details', details)::text AS summary,
    tags[1] AS first_tag, encode(sha256(convert_to(body, 'UTF8')), 'hex') AS body_sha, 'legacy' AS origin FROM person WHERE state <> 'D' ORDER BY 1`;
export const FOUND: string = `SELECT customer_id, name, state, balance::text, born::text, note, town, summary::text, first_tag, body_sha, origin FROM customer ORDER BY 1`;

/** Of pages, on the source; the target has them as they are. */
export const EXPECTED_PAGES: string = `SELECT id, coalesce(lower(title), 'untitled') AS title, md5(body) AS body_md5, views,
    nullif(split_part(title, '/', 2), '') AS area, CASE WHEN views > 3 THEN 'HIGH' ELSE 'N' || views END AS popularity FROM page ORDER BY 1`;
export const FOUND_PAGES: string = 'SELECT id, title, body_md5, views, area, popularity FROM page ORDER BY 1';
/** `functions.ts` beside the file. */
export const FUNCTIONS: string =
  'export function popularity(row: { views: bigint }): string {\n  return row.views > 3n ? "high" : `n${row.views}`;\n}\n';
export const TOKEN_KEY: string = 'a key that is long enough';

/** One round of changes: of long values left alone, of keys, of rows that go. */
export function changes(round: number): string[] {
  const n = (round * 37) % 3000;
  return [
    `UPDATE person SET cents = cents + 1, last_name = 'L${n}' WHERE id % 50 = ${n % 50}`,
    `UPDATE page SET views = views + 1 WHERE id % 20 = ${n % 20}`,
    `UPDATE page SET title = 'New/Part${n}' WHERE id = ${1 + (n % 500)}`,
    `UPDATE person SET state = CASE state WHEN 'D' THEN 'A' ELSE 'D' END WHERE id % 40 = ${n % 40}`,
    `DELETE FROM person WHERE id = ${n}`,
    `UPDATE person SET id = id + 100000 WHERE id = ${n + 1}`,
  ];
}
