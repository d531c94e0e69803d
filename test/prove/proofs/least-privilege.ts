/**
 * Chinook moved by two roles that may do no more than the documentation grants them, over TLS that is verified in full. The statements
 * are the documentation's own, so that it cannot drift from what works.
 */
import { readFileSync, writeFileSync } from 'node:fs';
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

const ROOT = join(import.meta.dirname, '..', '..', '..');
const SOURCE_ROLE = 'crossfade_source';
const TARGET_ROLE = 'crossfade_target';
const PASSWORD = 'correct horse/battery@staple';

export const leastPrivilegeProof: Proof = {
  name: 'chinook-least-privilege',
  claim:
    'Chinook moves with roles that hold only what the README and docs/roles.md grant, over TLS verify-full, no superuser on either side',
  expectedSeconds: 40,
  run: runLeastPrivilege,
};

async function runLeastPrivilege(context: ProofContext): Promise<Figures> {
  const pages = grantPages();
  let figures: Figures = {};
  for (const page of context.size === 'full' ? pages : pages.slice(0, 1)) figures = await moveAs(page, context);
  return figures;
}

async function moveAs(page: Grants, { size, seed, say }: ProofContext): Promise<Figures> {
  const certificates = makeCertificates({ hosts: ['localhost'] });
  await using stage = await openProofStage({
    name: 'chinook',
    source: tlsServer(certificates),
    target: tlsServer(certificates),
    file: '',
    sourceSql: '',
    targetSql: '',
  });
  await Promise.all([loadSample(stage.sourceUrl, CHINOOK), loadSampleEmpty(stage.targetUrl, CHINOOK)]);
  await execute(stage.sourceUrl, page.source);
  await execute(stage.targetUrl, page.target);
  writeFileSync(join(stage.directory, 'ca.pem'), certificates.ca);
  stage.writeFile('tables:\n  - from: public.*\npublication: { create: false }', {
    source: tlsUrl(stage, 'source'),
    target: tlsUrl(stage, 'target'),
  });
  const statements = await publicationByOwner(stage);
  say(`as ${page.page} says; the owner ran: ${statements.join(' ')}`);
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
  await requireNoSuperuser(stage);
  return {
    tables: tables.length,
    'rows equal': rows,
    'transactions meanwhile': written,
    differences: verified.differences,
  };
}

/** The page's own lines of pg_hba.conf, and a way in for the test that sets the stage. */
function tlsServer(ssl: ReturnType<typeof makeCertificates>): Partial<PostgresOptions> {
  const lines = rolesBlocks(readFileSync(join(ROOT, 'docs', 'roles.md'), 'utf8'), 'text pg_hba')
    .trim()
    .split('\n');
  return { ssl: { cert: ssl.cert, key: ssl.key }, hba: ['host all postgres 127.0.0.1/32 trust', ...lines] };
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

async function requireNoSuperuser(stage: ProofStage): Promise<void> {
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
  readonly page: string;
  readonly source: string;
  readonly target: string;
}

/** Both pages that tell a reader what to grant; each must work as it stands, but for the password. */
function grantPages(): readonly Grants[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const roles = readFileSync(join(ROOT, 'docs', 'roles.md'), 'utf8');
  const ofReadme = (side: string): string =>
    only(readme.matchAll(new RegExp(`<!-- grants:${side} -->\\s*\`\`\`sql\\n(.*?)\`\`\``, 'gs')), `grants:${side}`);
  return [
    { page: 'README.md', source: ofReadme('source'), target: ofReadme('target') },
    { page: 'docs/roles.md', source: rolesBlocks(roles, 'sql source'), target: rolesBlocks(roles, 'sql target') },
  ];
}

/** All blocks under that label, one after the other. */
function rolesBlocks(page: string, label: string): string {
  return only(
    [...page.matchAll(/^```(\S+ \S+)\n(.*?)^```/gms)].filter((match) => match[1] === label).map((match) => [match[0], match[2]]),
    label,
  );
}

function only(matches: Iterable<readonly (string | undefined)[]>, what: string): string {
  const found = [...matches].map((match) => match[1] ?? '');
  if (found.length === 0) throw new Error(`the documentation has no block ${what}`);
  return found.join('\n').replaceAll(/PASSWORD '[^']*'/g, `PASSWORD '${PASSWORD}'`);
}
