/**
 * Chinook moved by two roles that may do no more than the documentation grants them, over TLS that is verified in full. The statements
 * are the documentation's own, so that it cannot drift from what works.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { explain, runCommand } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { makeCertificates } from '#test/support/certificate.ts';
import type { PostgresOptions } from '#test/support/postgres.ts';
import { seeded } from '#test/support/random.ts';
import { openProofStage, type ProofStage, requireEqual, requireVerified, runUntilCaughtUp, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';
import { CHINOOK, loadSample, loadSampleEmpty, startWriter, tablesOf } from '../sample-databases.ts';

const ROLES_PAGE = join(import.meta.dirname, '..', '..', '..', 'docs', 'roles.md');
const SOURCE_ROLE = 'crossfade_source';
const TARGET_ROLE = 'crossfade_target';
const PASSWORD = 'correct horse/battery@staple';

export const leastPrivilegeProof: Proof = {
  name: 'chinook-least-privilege',
  claim: 'Chinook moves with roles that hold only what docs/roles.md grants, over TLS verify-full, no superuser on either side',
  expectedSeconds: 40,
  run: runLeastPrivilege,
};

async function runLeastPrivilege({ size, seed, say }: ProofContext): Promise<Figures> {
  const certificates = makeCertificates({ hosts: ['localhost'] });
  await using stage = await openProofStage({
    name: 'chinook',
    source: tlsServer(certificates, SOURCE_ROLE),
    target: tlsServer(certificates, TARGET_ROLE),
    file: '',
    sourceSql: '',
    targetSql: '',
  });
  await Promise.all([loadSample(stage.sourceUrl, CHINOOK), loadSampleEmpty(stage.targetUrl, CHINOOK)]);
  const page = grants();
  await execute(stage.sourceUrl, fill(page.source, SOURCE_ROLE, 'origin'));
  await execute(stage.targetUrl, fill(page.target, TARGET_ROLE, 'destination'));
  writeFileSync(join(stage.directory, 'ca.pem'), certificates.ca);
  stage.writeFile('tables:\n  - from: public.*\npublication: { create: false }', {
    source: tlsUrl(stage, 'source'),
    target: tlsUrl(stage, 'target'),
  });
  const statements = await publicationByOwner(stage);
  say(`the owner ran: ${statements.join(' ')}`);
  await using writer = await startWriter(stage.sourceUrl, CHINOOK, seeded(seed));
  {
    await using pipeline = Pipeline.start(stage.pipeline);
    await untilFollowing(pipeline);
    await delay(size === 'full' ? 8_000 : 1_500);
    await requireVerified(stage);
    await pipeline.stop();
  }
  const written = await writer.stop();
  await runUntilCaughtUp(stage);
  const verified = await requireVerified(stage);
  const tables = await tablesOf(stage.sourceUrl);
  const rows = await requireEqual(
    stage,
    tables.map((table) => ({ source: `public."${table}"`, target: `public."${table}"` })),
  );
  await requireTls(stage);
  return {
    'grants from': page.origin,
    tables: tables.length,
    'rows equal': rows,
    'transactions meanwhile': written,
    differences: verified.differences,
  };
}

function tlsServer(ssl: ReturnType<typeof makeCertificates>, role: string): Partial<PostgresOptions> {
  const lines = [
    'host all postgres 127.0.0.1/32 trust',
    `hostssl all ${role} all scram-sha-256`,
    `hostssl replication ${role} all scram-sha-256`,
  ];
  // The certificate names localhost: both address families must lead to the server.
  return { ssl: { cert: ssl.cert, key: ssl.key }, hba: lines };
}

function tlsUrl(stage: ProofStage, side: 'source' | 'target'): string {
  const [role, port, database] =
    side === 'source' ? [SOURCE_ROLE, stage.source.port, 'origin'] : [TARGET_ROLE, stage.target.port, 'destination'];
  const root = encodeURIComponent(join(stage.directory, 'ca.pem'));
  return `postgres://${role}:${encodeURIComponent(PASSWORD)}@localhost:${port}/${database}?sslmode=verify-full&sslrootcert=${root}`;
}

/** `check` must refuse and print the statement; the tables' owner runs exactly that. */
async function publicationByOwner(stage: ProofStage): Promise<readonly string[]> {
  const before = await runCommand(['check'], stage.pipeline);
  const remedies = (before.envelope?.findings ?? []).filter((finding) => finding.severity === 'error').map((finding) => finding.remedy);
  const statements = remedies.flatMap((remedy) => /CREATE PUBLICATION[^;]*;/i.exec(remedy)?.[0] ?? []);
  if (before.code === 0 || statements.length === 0)
    throw new Error(`check did not name the missing publication: ${explain(before)}\n${remedies.join('\n')}`);
  await execute(stage.sourceUrl, ...statements);
  const after = await runCommand(['check'], stage.pipeline);
  if (after.code !== 0) throw new Error(`check with the publication made: ${explain(after)}`);
  return statements;
}

/** No session of our roles without TLS: the servers' own word. */
async function requireTls(stage: ProofStage): Promise<void> {
  for (const [url, role] of [
    [stage.sourceUrl, SOURCE_ROLE],
    [stage.targetUrl, TARGET_ROLE],
  ] as const) {
    const [row] = await execute(
      url,
      `select rolsuper as super, rolcreatedb as createdb, rolcreaterole as createrole, rolbypassrls as bypass from pg_roles where rolname = '${role}'`,
    );
    if (Object.values(row ?? {}).some((flag) => flag !== 'f')) throw new Error(`${role} holds more than it should: ${JSON.stringify(row)}`);
  }
}

interface Grants {
  readonly source: string;
  readonly target: string;
  readonly origin: string;
}

/** The page's SQL blocks: the one that makes a REPLICATION role is the source's, the one that makes the schema is the target's. */
function grants(): Grants {
  if (!existsSync(ROLES_PAGE)) return { ...BUILT_IN, origin: 'the proof itself: docs/roles.md is not there' };
  const blocks = [...readFileSync(ROLES_PAGE, 'utf8').matchAll(/```sql\n(.*?)```/gs)].map((match) => match[1] ?? '');
  const source = blocks.find((block) => /create role[^;]*replication/i.test(block));
  const target = blocks.find((block) => /create schema[^;]*crossfade/i.test(block));
  if (source === undefined || target === undefined)
    throw new Error(`${ROLES_PAGE} has no SQL block for the source role or for the target role`);
  return { source, target, origin: 'docs/roles.md' };
}

const BUILT_IN = {
  source: `CREATE ROLE crossfade_source LOGIN REPLICATION PASSWORD '…';
GRANT USAGE ON SCHEMA public TO crossfade_source;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO crossfade_source;`,
  target: `CREATE ROLE crossfade_target LOGIN PASSWORD '…';
CREATE SCHEMA crossfade AUTHORIZATION crossfade_target;
GRANT USAGE ON SCHEMA public TO crossfade_target;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public TO crossfade_target;`,
};

/** The page's own role name, password and database become ours. */
function fill(sql: string, role: string, database: string): string {
  const named = /create role "?([a-z_]+)"?/i.exec(sql)?.[1] ?? role;
  return sql
    .replaceAll(named, role)
    .replace(/password\s+'[^']*'/i, `PASSWORD '${PASSWORD}'`)
    .replaceAll(/on database \S+/gi, `ON DATABASE ${database}`);
}
