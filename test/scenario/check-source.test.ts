/** Every finding about the source, provoked once on a real server, by the command line. */
import { expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { checkVersion } from '#connectors/source/postgres/preflight/server.ts';
import type { SourceFacts } from '#connectors/source/postgres/preflight/source-check.ts';
import { checkActivity } from '#connectors/source/postgres/preflight/unsupported.ts';
import { checkStage, errorsOf, findingLike } from '#test/support/check-stage.ts';

const TABLE = 'CREATE TABLE public.a (id int PRIMARY KEY, t text)';

test.for([14, 18] as const)('a source and a target that are ready: exit 0, nothing to mend (source %s)', async (version) => {
  await using stage = await checkStage({
    version,
    source: `${TABLE}; CREATE TABLE public.b (x int, y text); ALTER TABLE public.b REPLICA IDENTITY FULL`,
  });
  const { exitCode, envelope } = await stage.check();
  expect(errorsOf(envelope)).toEqual([]);
  expect(exitCode).toBe(0);
  expect(envelope).toMatchObject({ command: 'check', ok: true, error: null, result: { resumed: false, errors: 0, volume: { tables: 2 } } });
});

test.for([14, 18] as const)('what the source role lacks is told at once, and the SQL printed mends it (source %s)', async (version) => {
  await using stage = await checkStage({
    version,
    roles: true,
    source:
      'CREATE SCHEMA "Old Shop"; CREATE TABLE "Old Shop"."Orders" (id int PRIMARY KEY); CREATE TABLE "Old Shop".lines (id int PRIMARY KEY)',
    target: `CREATE SCHEMA "Old Shop"; CREATE TABLE "Old Shop"."Orders" (id int PRIMARY KEY); CREATE TABLE "Old Shop".lines (id int PRIMARY KEY)`,
    tables: '  - from: "Old Shop.*"',
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(findingLike(envelope, /may not replicate/)).toMatchObject({ severity: 'error', code: 'CF-2003' });
  expect(findingLike(envelope, /may not use schema "Old Shop"/).remedy).toBe(`GRANT USAGE ON SCHEMA "Old Shop" TO "${stage.sourceRole}";`);
  expect(findingLike(envelope, /may not read/).remedy).toBe(
    `GRANT SELECT ON "Old Shop"."Orders", "Old Shop"."lines" TO "${stage.sourceRole}";`,
  );
  expect(findingLike(envelope, /may not make publication/).remedy).toContain(
    `CREATE PUBLICATION "${stage.name}" FOR TABLE ONLY "Old Shop"."Orders", ONLY "Old Shop"."lines"`,
  );
  for (const finding of errorsOf(envelope))
    await (finding.code.startsWith('CF-2') ? stage.onSource(finding.remedy) : stage.onTarget(finding.remedy));
  const mended = await stage.check();
  expect(errorsOf(mended.envelope)).toEqual([]);
  expect(mended.exitCode).toBe(0);
});

test('neither server can be reached: exit 3, both are named', async () => {
  const nowhere = 'postgres://me:secret@127.0.0.1:1/x';
  await using stage = await checkStage({ source: TABLE, sourceUrl: nowhere, targetUrl: nowhere });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(errorsOf(envelope).map((finding) => finding.code)).toEqual(['CF-2001', 'CF-5001']);
  expect(JSON.stringify(envelope)).not.toContain('secret');
});

test('a source that cannot be reached does not hide what the target lacks', async () => {
  await using stage = await checkStage({ source: TABLE, roles: true, sourceUrl: 'postgres://me@127.0.0.1:1/x' });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(errorsOf(envelope).map((finding) => finding.code)).toEqual(['CF-2001', 'CF-5002']);
});

test('a database that is not there, a role that may not log in: exit 3', async () => {
  await using stage = await checkStage({ source: TABLE, sourceUrl: 'postgres://nobody_at_all@127.0.0.1:1/x' });
  expect((await stage.check()).exitCode).toBe(3);
});

test('a table without a key, one that identifies nothing, and a leaf without identity are refused with the ALTER TABLE that helps', async () => {
  const tables = `CREATE TABLE public.keyless (x int);
    CREATE TABLE public.nothing (id int PRIMARY KEY);
    CREATE TABLE public.parted (id int, day date) PARTITION BY RANGE (day);
    CREATE TABLE public.parted_1 PARTITION OF public.parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE public.uniq (id int NOT NULL, CONSTRAINT uniq_id UNIQUE (id));`;
  await using stage = await checkStage({
    source: `${tables} ALTER TABLE public.nothing REPLICA IDENTITY NOTHING`,
    target: tables.replace('CREATE TABLE public.uniq', 'CREATE TABLE public.uniq'),
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  const found = errorsOf(envelope).filter((finding) => finding.code === 'CF-2008');
  expect(found.map((finding) => finding.message.split(':')[0])).toEqual(
    expect.arrayContaining(['public.keyless', 'public.nothing', 'public.uniq']),
  );
  for (const finding of found) await stage.onSource(finding.remedy.replace('Run on the source: ', ''));
  const mended = await stage.check();
  expect(errorsOf(mended.envelope)).toEqual([]);
  expect(mended.exitCode).toBe(0);
});

test('keys are judged also where the target table is missing', async () => {
  await using stage = await checkStage({ source: 'CREATE TABLE public.keyless (x int)', target: 'CREATE TABLE public.other (x int)' });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  expect(findingLike(envelope, /no primary key and no other replica identity/)).toMatchObject({
    code: 'CF-2008',
    remedy: 'ALTER TABLE "public"."keyless" REPLICA IDENTITY FULL;',
  });
});

test('what the stream does not carry is named', async () => {
  await using stage = await checkStage({
    source: `${TABLE}; CREATE MATERIALIZED VIEW public.mv AS SELECT 1 AS x; CREATE UNLOGGED TABLE public.ul (id int PRIMARY KEY);
      CREATE SEQUENCE public.s; SELECT lo_create(0);
      CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('x', ''); RETURN NULL; END $$`,
    target: TABLE,
    tables: '  - from: public.*\n    exclude: [public.ul]',
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(0);
  expect(findingLike(envelope, /materialised views .* "public"."mv"/).severity).toBe('info');
  expect(findingLike(envelope, /unlogged tables .* "public"."ul"/).severity).toBe('info');
  expect(findingLike(envelope, /1 large objects/).severity).toBe('warning');
  expect(findingLike(envelope, /1 sequences/).severity).toBe('info');
  expect(findingLike(envelope, /NOTIFY is used by public.tell/).severity).toBe('info');
});

test('a mapped unlogged table is refused', async () => {
  await using stage = await checkStage({
    source: 'CREATE UNLOGGED TABLE public.ul (id int PRIMARY KEY)',
    target: 'CREATE TABLE public.ul (id int PRIMARY KEY)',
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  expect(findingLike(envelope, /public.ul is unlogged/)).toMatchObject({
    code: 'CF-2008',
    remedy: expect.stringContaining('SET LOGGED') as string,
  });
});

test('row security that hides rows from the source role is refused', async () => {
  await using stage = await checkStage({ roles: true, source: `${TABLE}; ALTER TABLE public.a ENABLE ROW LEVEL SECURITY`, target: TABLE });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(findingLike(envelope, /row security hides rows of "public"."a"/)).toMatchObject({
    code: 'CF-2003',
    remedy: `ALTER ROLE "${stage.sourceRole}" BYPASSRLS;`,
  });
});

test.for([
  { what: 'ALL TABLES', sql: 'CREATE PUBLICATION $ FOR ALL TABLES', like: /lists ALL TABLES/ },
  { what: 'whole schemas', sql: 'CREATE PUBLICATION $ FOR TABLES IN SCHEMA public', like: /lists whole schemas/ },
  {
    what: 'the root for its leaves',
    sql: 'CREATE PUBLICATION $ FOR TABLE public.a WITH (publish_via_partition_root = true)',
    like: /partitions as their root/,
  },
  {
    what: 'no truncate',
    sql: "CREATE PUBLICATION $ FOR TABLE public.a WITH (publish = 'insert, update, delete')",
    like: /does not publish truncate/,
  },
  { what: 'a row filter', sql: 'CREATE PUBLICATION $ FOR TABLE public.a WHERE (id > 0)', like: /row filter on "public"."a"/ },
  { what: 'a column list', sql: 'CREATE PUBLICATION $ FOR TABLE public.a (id)', like: /column list on "public"."a"/ },
])('a publication made beforehand with $what is refused, and the SQL printed mends it', async ({ sql, like }) => {
  await using stage = await checkStage({ source: TABLE });
  await stage.onSource(sql.replace('$', stage.name));
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  const finding = findingLike(envelope, like);
  expect(finding).toMatchObject({ severity: 'error', code: 'CF-2002' });
  await stage.onSource(finding.remedy);
  expect((await stage.check()).exitCode).toBe(0);
});

test('a publication that lists a table too few is refused where only the owner may add it, one too many is a warning', async () => {
  await using stage = await checkStage({
    roles: true,
    source: `${TABLE}; CREATE TABLE public.b (id int PRIMARY KEY); CREATE TABLE public.c (id int PRIMARY KEY)`,
    tables: '  - from: public.*\n    exclude: [public.c]',
  });
  await stage.onSource(
    `CREATE PUBLICATION ${stage.name} FOR TABLE public.a, public.c; ALTER ROLE ${stage.sourceRole} REPLICATION; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${stage.sourceRole}`,
  );
  const { envelope } = await stage.check();
  const lacking = findingLike(envelope, /does not list "public"."b"/);
  expect(lacking).toMatchObject({ severity: 'error', code: 'CF-2002' });
  expect(findingLike(envelope, /also lists public.c/).severity).toBe('warning');
  await stage.onSource(lacking.remedy);
  expect((await stage.check()).envelope.findings.some((finding) => /does not list/.test(finding.message))).toBe(false);
});

test('a slot of another plugin or database is refused; one of ours is told', async () => {
  await using stage = await checkStage({ source: TABLE });
  await stage.onSource(`SELECT pg_create_logical_replication_slot('${stage.name}', 'test_decoding')`);
  const wrong = await stage.check();
  expect(wrong.exitCode).toBe(3);
  expect(findingLike(wrong.envelope, /plugin test_decoding/).code).toBe('CF-2002');
  await stage.onSource(
    `SELECT pg_drop_replication_slot('${stage.name}'); SELECT pg_create_logical_replication_slot('${stage.name}', 'pgoutput')`,
  );
  const ours = await stage.check();
  expect(ours.exitCode).toBe(0);
  expect(findingLike(ours.envelope, /is there already/).severity).toBe('info');
  await using other = await checkStage({ source: TABLE });
  await other.onSource(`SELECT pg_create_physical_replication_slot('${other.name}')`);
  expect(findingLike((await other.check()).envelope, /it is physical/).code).toBe('CF-2002');
});

test('a role that may not open enough sessions is a warning', async () => {
  await using stage = await checkStage({ roles: true, source: TABLE });
  await stage.onSource(`ALTER ROLE ${stage.sourceRole} CONNECTION LIMIT 5`);
  await stage.onTarget(`ALTER ROLE ${stage.targetRole} CONNECTION LIMIT 5`);
  const { envelope } = await stage.check();
  expect(findingLike(envelope, /the source role may open 5 sessions/).severity).toBe('warning');
  expect(findingLike(envelope, /the target role may open 5 sessions/).severity).toBe('warning');
});

test('a file that leaves slot and publication to somebody else is refused while they are missing, and the SQL printed mends it', async () => {
  await using stage = await checkStage({
    version: 14,
    source: TABLE,
    tables: '  - from: public.*\nslot: { create: false, failover: true }\npublication: { create: false }',
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  expect(findingLike(envelope, /which PostgreSQL has from 17 on/).code).toBe('CF-2002');
  for (const pattern of [/^slot .* does not exist/, /^publication .* does not exist/])
    await stage.onSource(findingLike(envelope, pattern).remedy);
  expect(errorsOf((await stage.check()).envelope)).toEqual([]);
});

test('open transactions and inbound subscriptions are told before the slot waits for them', async () => {
  await using stage = await checkStage({ source: TABLE });
  await stage.onSource(`CREATE SUBSCRIPTION inbound_${stage.name} CONNECTION 'host=nowhere' PUBLICATION x WITH (connect = false)`);
  try {
    expect(findingLike((await stage.check()).envelope, /itself subscribes to another server/).severity).toBe('info');
    const [open, client] = [await session(stage.sourceUrl), await session(stage.sourceUrl)];
    try {
      await open.query('BEGIN');
      await open.query('INSERT INTO public.a VALUES (1)');
      const found = await checkActivity({ client, facts: { database: 'x' } as SourceFacts }, 0);
      expect(found.find((finding) => /long transactions are open/.test(finding.message))?.message).toContain('(an application,');
    } finally {
      await open.end();
      await client.end();
    }
  } finally {
    await stage.onSource(`ALTER SUBSCRIPTION inbound_${stage.name} SET (slot_name = NONE)`);
    await stage.onSource(`DROP SUBSCRIPTION inbound_${stage.name}`);
  }
});

async function session(url: string): ReturnType<typeof connect> {
  return connect(url, { applicationName: 'an application', role: 'source' });
}

test.for([
  { version: 130_010, severity: 'error', like: /14 is the oldest/ },
  { version: 140_017, severity: 'warning', like: /can be missing from the stream/ },
  { version: 170_005, severity: 'warning', like: /run out of memory/ },
] as const)('version $version: $severity', async ({ version, severity, like }) => {
  const found = await checkVersion({ facts: { version } as SourceFacts });
  expect(found).toMatchObject([{ severity, message: expect.stringMatching(like) as string }]);
});

test.for([140_023, 160_010, 170_006, 180_004, 190_000])('version %s is fine', async (version) => {
  expect(await checkVersion({ facts: { version } as SourceFacts })).toEqual([]);
});
