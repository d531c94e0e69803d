/** Tables whose primary keys on the target are UUIDs of the source's keys, and what PostgreSQL's own uuid_generate_v5 makes of them. */
const NAMESPACE = '4f5c1e0a-6d1b-4c55-9c57-0d2d3c6f1a11';

export const UUID_SOURCE: string = `CREATE EXTENSION "uuid-ossp";
  CREATE TABLE customer (tenant text, id int, name text, PRIMARY KEY (tenant, id));
  CREATE TABLE invoice (tenant text, id int, customer_id int, cents bigint, PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, customer_id) REFERENCES customer ON UPDATE CASCADE ON DELETE SET NULL (customer_id));
  INSERT INTO customer SELECT t, g, md5(g::text) FROM unnest('{acme,b:4,Zürich}'::text[]) t, generate_series(1, 500) g;
  INSERT INTO invoice SELECT tenant, id, NULLIF(id % 500, 0), id FROM customer`;

/** The target's keys are UUIDs; the old ones stay traceable, and are what rows are found by. */
export const UUID_TARGET: string = `CREATE TABLE client (id uuid PRIMARY KEY, tenant text, legacy_id int, name text, UNIQUE (tenant, legacy_id));
  CREATE TABLE bill (id uuid PRIMARY KEY, tenant text, legacy_id int, client uuid REFERENCES client, cents bigint, UNIQUE (tenant, legacy_id))`;

const uuid = (of: string): string => `{ from: [tenant, ${of}], steps: [{ uuid5: { namespace: ${NAMESPACE}, sep: "/" } }] }`;
export const UUID_TABLES: string = `tables:
  - from: public.customer
    to: public.client
    columns: { id: legacy_id }
    set: { id: ${uuid('id')} }
  - from: public.invoice
    to: public.bill
    columns: { id: legacy_id }
    set: { id: ${uuid('id')}, client: ${uuid('customer_id')} }
`;

const KEY = (of: string): string => `uuid_generate_v5('${NAMESPACE}', tenant || '/' || ${of})`;
export const UUID_EXPECTED: readonly string[] = [
  `SELECT ${KEY('id')} AS id, tenant, id AS legacy_id, name FROM customer ORDER BY 2, 3`,
  `SELECT ${KEY('id')} AS id, tenant, id AS legacy_id, ${KEY('customer_id')} AS client, cents FROM invoice ORDER BY 2, 3`,
];
export const UUID_FOUND: readonly string[] = ['SELECT * FROM client ORDER BY 2, 3', 'SELECT * FROM bill ORDER BY 2, 3'];

export function uuidChanges(round: number): string[] {
  const id = 1000 + round;
  return [
    `BEGIN; INSERT INTO customer VALUES ('acme', ${id}, 'new'); INSERT INTO invoice VALUES ('acme', ${id}, ${id}, 1); COMMIT`,
    `UPDATE customer SET name = name || '.' WHERE id % 29 = ${round % 29}`,
    `UPDATE customer SET id = id + 10000 WHERE tenant = 'b:4' AND id = ${(round * 7) % 500}`,
    `UPDATE invoice SET id = id + 10000 WHERE tenant = 'Zürich' AND id = ${(round * 11) % 500}`,
    `DELETE FROM customer WHERE tenant = 'Zürich' AND id % 97 = ${round % 97}`,
    `DELETE FROM invoice WHERE id % 61 = ${round % 61}`,
    `INSERT INTO customer SELECT 'Zürich', g, 'again' FROM generate_series(1, 500) g WHERE g % 97 = ${(round + 50) % 97} ON CONFLICT DO NOTHING`,
  ];
}
