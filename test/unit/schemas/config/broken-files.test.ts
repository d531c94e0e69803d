/**
 * Broken files, and every message that a user gets for them, in one place to read: messages.txt (vitest -u writes it anew). Read a changed
 * message as somebody who sees it for the first time: where, what was expected, what to do next.
 */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';
import { findingOf } from '#schemas/envelope.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { bySeverity } from '#schemas/finding.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { compileShadow } from '#schemas/reconcile/shadow/compile-shadow.ts';
import { compileChecks } from '#schemas/reconcile/checks/compile-checks.ts';
import { loadMigration } from '#services/cli/migration-input.ts';
import { createPaint } from '#services/cli/paint.ts';
import { renderFindings } from '#services/cli/render.ts';
import { catalogOf } from '#test/support/compile.ts';

const DIRECTORY = join(import.meta.dirname, '..', '..', '..', 'fixtures', 'broken-files');
const FILES = readdirSync(DIRECTORY).filter((name) => name.endsWith('.yaml'));
const ENV = { EMPTY: '', SHORT: 'hunter2', NAME: 'Ann' };

const SOURCE = `
  CREATE TABLE customer (id int PRIMARY KEY, name text, email text, phone text, legacy jsonb, twice int GENERATED ALWAYS AS (id * 2) STORED);
  CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric(10,2), status text, note text, placed timestamp, shipped timestamp);
  CREATE TABLE lines (order_id int, line int, note text, PRIMARY KEY (order_id, line));
  CREATE TABLE types (id int PRIMARY KEY, amount numeric, big bigint, long text, at timestamp, other text, many text, doc json, born date, seen timestamp);
  CREATE TABLE products (id int PRIMARY KEY, price numeric(10,2), gross numeric GENERATED ALWAYS AS (price * 1.2) STORED);
  CREATE TABLE strict (id int PRIMARY KEY, must int); CREATE TABLE keyless (a int); CREATE VIEW order_list AS SELECT id FROM orders;
  CREATE TABLE events (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  ALTER TABLE customer REPLICA IDENTITY FULL; ALTER TABLE orders REPLICA IDENTITY FULL`;
const TARGET = `
  CREATE SCHEMA sales; CREATE TABLE sales.orders (id int PRIMARY KEY); CREATE TABLE keyless (a int);
  CREATE TABLE customer (id int PRIMARY KEY, name text, email text, phone text, full_name text);
  CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric(10,2), status text, note text, placed timestamp, shipped timestamp,
    summary text, city text, country text, remark text);
  CREATE TABLE line_items (order_id int PRIMARY KEY, line int, note text);
  CREATE TABLE types (id int PRIMARY KEY, amount double precision, price real, big int, long varchar(10), at timestamptz, other bigint, many int, doc jsonb, born date, seen timestamptz, left_at timestamptz);
  CREATE TABLE products (id int PRIMARY KEY, price numeric(10,2) GENERATED ALWAYS AS (id) STORED, gross numeric);
  CREATE TABLE strict (id int PRIMARY KEY, must int NOT NULL, also text NOT NULL)`;

/** What \`check\` says of the file and of how it fits, as it stands in the terminal. */
async function findingsOf(name: string): Promise<readonly Finding[]> {
  try {
    const { file } = await loadMigration({
      common: { file: name, json: false },
      io: { environment: ENV, directory: DIRECTORY, stdout: NOWHERE, stderr: NOWHERE },
    });
    const source = await catalogOf(SOURCE);
    if (file.target.redis !== undefined) return bySeverity(compileRedisMapping(file, source).findings);
    const target = await catalogOf(TARGET);
    const { mapping, findings } = compileMapping(file, source, target);
    if (mapping === undefined) return bySeverity(findings);
    const checks = compileChecks(file, mapping, { source, target }).findings;
    return bySeverity([...findings, ...checks, ...compileShadow(file, mapping).findings]);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return (error.details['findings'] as readonly Finding[] | undefined) ?? [findingOf(error)];
  }
}

const NOWHERE = { write: (): void => undefined, isTerminal: false, columns: 100 };

test('every broken file has its messages, each with its place and what to do (messages.txt)', { timeout: 60_000 }, async () => {
  expect(FILES.length).toBeGreaterThanOrEqual(20);
  const parts: string[] = [];
  for (const name of FILES) {
    const findings = await findingsOf(name);
    expect(findings, name).not.toEqual([]);
    parts.push(`── ${basename(name, '.yaml')}\n\n${renderFindings(findings, createPaint(false))}`);
  }
  const text = parts.join('\n');
  expect(text).not.toContain('hunter2');
  expect(text).not.toContain(DIRECTORY);
  await expect(text).toMatchFileSnapshot(join(DIRECTORY, 'messages.txt'));
});
