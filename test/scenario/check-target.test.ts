/** Every finding about the target and about how both sides fit, provoked once on a real server, by the command line. */
import { expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { checkStage, errorsOf, findingLike } from '#test/support/check-stage.ts';

const TABLE = 'CREATE TABLE public.a (id int PRIMARY KEY, t text)';

/** It would change a row of the way back. */
const TOUCHED = `${TABLE}; CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.t := 1; RETURN NEW; END';
  CREATE TRIGGER touch BEFORE UPDATE ON public.a FOR EACH ROW EXECUTE FUNCTION public.f()`;

test('what the target role lacks is told at once, and the SQL printed mends it', async () => {
  await using stage = await checkStage({
    roles: true,
    source: TOUCHED,
    target: `CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, t text)`,
    tables: '  - from: public.a\n    to: app.a',
  });
  await stage.onTarget('DO $$ BEGIN EXECUTE format($x$REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC$x$, current_database()); END $$');
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(3);
  const role = `"${stage.targetRole}"`;
  expect(findingLike(envelope, /target role .* may not use schema "app"/).remedy).toBe(`GRANT USAGE ON SCHEMA "app" TO ${role};`);
  expect(findingLike(envelope, /target role .* lacks SELECT, INSERT, UPDATE, DELETE, TRUNCATE on "app"."a"/).code).toBe('CF-5002');
  expect(findingLike(envelope, /may not create schema crossfade/).remedy).toBe(`CREATE SCHEMA crossfade AUTHORIZATION ${role};`);
  expect(findingLike(envelope, /may not use temporary tables/).code).toBe('CF-5002');
  for (const finding of errorsOf(envelope))
    await (finding.code.startsWith('CF-2') ? stage.onSource(finding.remedy) : stage.onTarget(finding.remedy));
  const mended = await stage.check();
  expect(errorsOf(mended.envelope)).toEqual([]);
  expect(mended.exitCode).toBe(0);
  // What only a cut-over needs stands in nobody's way.
  const forBack = mended.envelope.findings.filter(({ code }) => code === 'CF-8205');
  const [ofTarget, ofSource] = ['target', 'source'].map((side) => forBack.filter(({ message }) => message.includes(`the ${side} role`)));
  expect(ofTarget!.map(({ message }) => message)).toEqual([
    `for the way back: the target role ${role} may not replicate`,
    expect.stringContaining(`may not make publication "${stage.name}_reverse": it lacks CREATE on database`) as string,
  ]);
  expect(ofSource!.map(({ message }) => message)).toEqual([
    `for the way back: the source role "${stage.sourceRole}" lacks INSERT, UPDATE, DELETE, TRUNCATE on "public"."a"`,
    `for the way back: the source role "${stage.sourceRole}" may not create schema crossfade, where its progress is kept`,
  ]);
  expect(forBack).toHaveLength(4);
  for (const { remedy } of ofTarget!) await stage.onTarget(remedy);
  for (const { remedy } of ofSource!) await stage.onSource(remedy);
  const touching = findingLike(
    (await stage.check()).envelope,
    /^for the way back: triggers of the source would change .*: "touch" on "public"."a"$/,
  );
  expect(touching).toMatchObject({ severity: 'warning', code: 'CF-8206' });
  await stage.onSource(touching.remedy.split('--')[0]!);
  const forFlip = (await stage.check()).envelope.findings.filter(({ code }) => code.startsWith('CF-8'));
  expect(forFlip.map(({ code, severity, message }) => [code, severity, message])).toEqual(
    [
      `the source role "${stage.sourceRole}" does not own "public"."a": only an owner may put a fence's triggers to sleep again`,
      `the target role ${role} does not own "app"."a": only an owner may put a fence's triggers to sleep again`,
    ].map((message) => ['CF-8102', 'warning', `for the cut-over: ${message}`]),
  );
  await stage.onSource(forFlip[0]!.remedy);
  await stage.onTarget(forFlip[1]!.remedy);
  expect((await stage.check()).envelope.findings.filter(({ code }) => code.startsWith('CF-8'))).toEqual([]);
});

test("a schema crossfade that is somebody else's is refused", async () => {
  await using stage = await checkStage({ roles: true, source: TABLE });
  await stage.onTarget('CREATE SCHEMA crossfade');
  expect(findingLike((await stage.check()).envelope, /may not create its tables in schema crossfade/).remedy).toBe(
    `ALTER SCHEMA crossfade OWNER TO "${stage.targetRole}";`,
  );
});

test('a filled target table is refused at its line of the file, unless the file says what to do with it', async () => {
  const filled = `${TABLE}; INSERT INTO public.a VALUES (1, 'x')`;
  await using stage = await checkStage({ source: filled });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  expect(findingLike(envelope, /already holds rows/)).toMatchObject({ severity: 'error', code: 'CF-5004', path: stage.path, line: 6 });
  await using merge = await checkStage({ source: filled, tables: '  - from: public.*\n    existing: merge' });
  const merged = await merge.check();
  expect(merged.exitCode).toBe(0);
  expect(findingLike(merged.envelope, /already holds rows/).severity).toBe('warning');
  await using truncate = await checkStage({ source: filled, tables: '  - from: public.*\n    existing: truncate' });
  expect((await truncate.check()).envelope.findings.filter((finding) => finding.code === 'CF-5004')).toEqual([]);
});

test('of a target that several share, only rows of one’s own count as there already, and the SQL printed takes no other one’s', async () => {
  const part = (name: string): string => `  - { from: public.${name}, to: public.item, set: { part: { value: ${name} } } }`;
  await using stage = await checkStage({
    source: 'CREATE TABLE public.eu (id int PRIMARY KEY); CREATE TABLE public.us (id int PRIMARY KEY)',
    target: `CREATE TABLE public.item (part text, id int, PRIMARY KEY (part, id)); INSERT INTO public.item VALUES ('eu', 1), ('eu', 2), ('x', 1)`,
    tables: `${part('eu')}\n${part('us')}`,
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  const found = envelope.findings.filter((finding) => finding.code === 'CF-5004');
  expect(found).toMatchObject([{ message: `"public"."item" (where "part" = 'eu'::text) already holds rows`, line: 6 }]);
  await stage.onTarget(found[0]!.remedy);
  expect(errorsOf((await stage.check()).envelope)).toEqual([]);
});

const CIRCLE = `CREATE TABLE public.x (id int PRIMARY KEY, y int); CREATE TABLE public.y (id int PRIMARY KEY, x int REFERENCES public.x);
  ALTER TABLE public.x ADD CONSTRAINT x_y FOREIGN KEY (y) REFERENCES public.y`;
const GRANTS = (role: string): string =>
  `GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}; CREATE SCHEMA crossfade AUTHORIZATION ${role}`;

test('foreign keys in a circle need session_replication_role; without it they are refused, with the statement that grants it', async () => {
  await using stage = await checkStage({ version: 14, roles: true, source: CIRCLE }); // the target is 18
  await stage.onTarget(GRANTS(stage.targetRole));
  const { envelope } = await stage.check();
  const finding = findingLike(envelope, /foreign keys of the target form a circle/);
  expect(finding).toMatchObject({ severity: 'error', code: 'CF-5007' });
  expect(finding.remedy).toContain(`GRANT SET ON PARAMETER session_replication_role TO "${stage.targetRole}";`);
  await stage.onTarget(finding.remedy.split('--')[0]!);
  expect((await stage.check()).envelope.findings.filter((one) => one.code === 'CF-5007')).toEqual([]);
});

test('on a target of 14, where the parameter cannot be granted, dropping the constraints is named', async () => {
  await using stage = await checkStage({ version: 18, roles: true, source: CIRCLE });
  await stage.onTarget(GRANTS(stage.targetRole));
  expect(findingLike((await stage.check()).envelope, /form a circle/).remedy).toContain('ALTER TABLE "public"."x" DROP CONSTRAINT "x_y";');
});

test('a table that refers to itself is refused when it does not fit into one chunk, else a check of each row is told, with what puts it off', async () => {
  const own = 'CREATE TABLE public.employee (id int PRIMARY KEY, boss int REFERENCES public.employee);';
  await using small = await checkStage({
    roles: true,
    source: `${own} INSERT INTO public.employee VALUES (1, NULL); ANALYZE`,
    target: own,
  });
  await small.onTarget(GRANTS(small.targetRole));
  expect(errorsOf((await small.check()).envelope).filter((finding) => finding.code === 'CF-5007')).toEqual([]);
  // One INSERT of (2, 3) and (3, NULL) is right at the source; row by row it is not.
  const byRow = findingLike((await small.check()).envelope, /checked row by row.*: "employee_boss_fkey" on "public"."employee"$/);
  expect(byRow).toMatchObject({ severity: 'warning', code: 'CF-5007' });
  await small.onTarget(/ALTER TABLE .*? DEFERRABLE;/.exec(byRow.remedy)![0]);
  expect((await small.check()).envelope.findings.filter(({ code, severity }) => code === 'CF-5007' && severity === 'warning')).toEqual([]);
  await using large = await checkStage({
    roles: true,
    source: `${own} INSERT INTO public.employee SELECT g, 1 FROM generate_series(1, 30000) g; ANALYZE`,
    target: own,
  });
  await large.onTarget(GRANTS(large.targetRole));
  expect(findingLike((await large.check()).envelope, /refers to itself/)).toMatchObject({ severity: 'error', code: 'CF-5007' });
});

test('triggers that will fire are named: ALWAYS ones for any role, plain ones where the role cannot make them rest', async () => {
  const triggers = `${TABLE}; CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE TRIGGER plain AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.f();
    CREATE TRIGGER every AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.f(); ALTER TABLE public.a ENABLE ALWAYS TRIGGER every`;
  await using stage = await checkStage({ roles: true, source: TABLE, target: triggers });
  const { envelope } = await stage.check();
  expect(findingLike(envelope, /fire ALWAYS .*"every" on "public"."a"/).severity).toBe('warning');
  expect(findingLike(envelope, /may not set session_replication_role: "plain" on "public"."a"/).severity).toBe('warning');
});

test('row security and a read-only default of the target role are refused', async () => {
  await using stage = await checkStage({ roles: true, source: TABLE, target: `${TABLE}; ALTER TABLE public.a ENABLE ROW LEVEL SECURITY` });
  await stage.onTarget(`ALTER ROLE ${stage.targetRole} SET default_transaction_read_only = on`);
  const { envelope } = await stage.check();
  expect(findingLike(envelope, /row security stands between/).remedy).toBe(`ALTER ROLE "${stage.targetRole}" BYPASSRLS;`);
  const readOnly = findingLike(envelope, /read-only by default/);
  await stage.onTarget(readOnly.remedy);
  expect((await stage.check()).envelope.findings.some((finding) => /read-only by default/.test(finding.message))).toBe(false);
});

test.for([
  { what: 'a table', tables: '  - from: public.odrers', like: /odrers/, nearest: 'orders', line: 6 },
  { what: 'a column', tables: '  - from: public.orders\n    columns:\n      totl: total', like: /totl/, nearest: 'total', line: 8 },
])('$what that the source lacks: exit 2, CF-1008, the place in the file, the nearest name', async ({ tables, like, nearest, line }) => {
  await using stage = await checkStage({ source: 'CREATE TABLE public.orders (id int PRIMARY KEY, total int)', tables });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  const finding = findingLike(envelope, like);
  expect(finding).toMatchObject({ code: 'CF-1008', path: stage.path, line });
  expect(finding.column).toBeGreaterThan(0);
  expect(`${finding.message} ${finding.remedy}`).toContain(nearest);
});

test('a target column that is missing, narrower, or not null without a value: exit 2', async () => {
  await using stage = await checkStage({
    source: 'CREATE TABLE public.a (id bigint PRIMARY KEY, t text, gone int)',
    target: 'CREATE TABLE public.a (id int PRIMARY KEY, t varchar(3), must int NOT NULL)',
  });
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(2);
  for (const pattern of [/"id"/, /"t"/, /"gone"/, /"must"/]) expect(findingLike(envelope, pattern).path).toBe(stage.path);
});

test('check --ddl prints what is missing on the target, and running it makes check pass', async () => {
  await using stage = await checkStage({
    source: `${TABLE}; CREATE TABLE public.b (id int PRIMARY KEY, a int REFERENCES public.a, n numeric(10,2) DEFAULT 3)`,
    target: 'SELECT 1',
  });
  const { envelope } = await stage.check('--ddl');
  expect(envelope.ok).toBe(true);
  const { sql, tables } = envelope.result as { sql: string; tables: string[] };
  expect(tables).toEqual(['public.a', 'public.b']);
  await stage.onTarget(sql);
  const after = await stage.check();
  expect(errorsOf(after.envelope)).toEqual([]);
  expect(after.exitCode).toBe(0);
});

test('the slot is gone although the target shows changes: CF-2004', async () => {
  await using stage = await checkStage({ source: TABLE });
  const client = await connect(stage.targetUrl, { applicationName: 'test', role: 'target' });
  await ensureSchema(client);
  await client.query(
    "INSERT INTO crossfade.progress (name, epoch, mode, applied_lsn, mapping_hash, instance) VALUES ($1, 1, 'consistent', '0/1', '', '')",
    [stage.name],
  );
  await client.end();
  const { exitCode, envelope } = await stage.check();
  expect(exitCode).toBe(1);
  expect(envelope.error?.code).toBe('CF-2004');
});

test('surrogate keys: the sequences that ids come from, owned by the column or only named by its default, and the map are asked of', async () => {
  await using stage = await checkStage({
    roles: true,
    source: 'CREATE TABLE public.a (k text PRIMARY KEY); CREATE TABLE public.b (k text PRIMARY KEY)',
    target: `CREATE TABLE public.a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); CREATE SEQUENCE public.ids;
      CREATE TABLE public.b (id bigint DEFAULT nextval('public.ids') PRIMARY KEY)`,
    tables: '  - from: public.*\n    key: { surrogate: id }',
  });
  await stage.onTarget(GRANTS(stage.targetRole));
  const finding = findingLike((await stage.check()).envelope, /may not take ids from/);
  expect(finding).toMatchObject({
    severity: 'error',
    code: 'CF-5002',
    remedy: `GRANT USAGE ON SEQUENCE "public"."a_id_seq", "public"."ids" TO "${stage.targetRole}";`,
  });
  await stage.onTarget(finding.remedy);
  await stage.onTarget('CREATE TABLE crossfade.key_map (name text)');
  const map = findingLike((await stage.check()).envelope, /may not read and add to crossfade.key_map/);
  await stage.onTarget(map.remedy);
  expect(errorsOf((await stage.check()).envelope).filter(({ code }) => code.startsWith('CF-5'))).toEqual([]);
});
