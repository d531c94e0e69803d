/** What a file may no longer say once rows stand in Redis: they are written again only when they change. */
import { expect, test } from 'vitest';
import { redisStore } from '#connectors/target/redis/store.ts';
import type { PipelineError } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { describeWithRedis } from '#test/support/redis/describe-with-redis.ts';
import { mappingOf, type TableShape } from '#test/support/redis/mapping.ts';
import { startRedis } from '#test/support/redis/server.ts';

const ACCOUNT: TableShape = { name: 'account', columns: ['id integer', 'owner text', 'country text'], key: ['id'] };
const GROWN: TableShape = { ...ACCOUNT, columns: [...ACCOUNT.columns, 'city text'] };
const SHRUNK: TableShape = { ...ACCOUNT, columns: ['id integer', 'owner text'] };
const PLAIN = 'redis: { key: "acct:{id}" }';

function file(rest: string, shape = ACCOUNT): CompiledMapping {
  return mappingOf(`  - { from: public.account, ${rest} }\n`, [shape]);
}

function withDefault(mapping: CompiledMapping, name: string): CompiledMapping {
  const tables = mapping.tables.map((table) => ({
    ...table,
    columns: table.columns.map((one) => (one.target === name ? { ...one, source: { ...one.source, hasDefault: true } } : one)),
  }));
  return { ...mapping, tables };
}

/** What each file in turn is refused with, over the same server. */
async function openInTurn(...files: readonly CompiledMapping[]): Promise<(string | undefined)[]> {
  await using redis = await startRedis();
  const said: (string | undefined)[] = [];
  for (const mapping of files) {
    const store = redisStore({ address: { url: redis.url, cluster: false }, mapping, instance: 'test' });
    try {
      const target = await store.open({ onMissing: async () => Promise.resolve() });
      await target.close();
      said.push(undefined);
    } catch (error) {
      const { code, message } = error as PipelineError;
      said.push(`${code} ${message}`);
    }
  }
  return said;
}

const REFUSED = 'CF-5006 rows of public.account stand in Redis';

describeWithRedis('a file that says something else than before', () => {
  test('about ttl is refused, in both directions', async () => {
    const expiring = file('redis: { key: "acct:{id}", ttl: 100 }');
    expect(await openInTurn(file(PLAIN), expiring, file(PLAIN))).toEqual([
      undefined,
      `${REFUSED} without ttl, the file says with ttl 100`,
      undefined,
    ]);
    expect(await openInTurn(expiring, file(PLAIN))).toEqual([undefined, `${REFUSED} with ttl 100, the file says without ttl`]);
  });

  test('about columns is refused: left out, put in, or renamed', async () => {
    const [whole, fewer] = [file(PLAIN), file(`${PLAIN}, drop: [country]`)];
    expect(await openInTurn(whole, fewer)).toEqual([undefined, `${REFUSED} with "country", which the file drops`]);
    expect(await openInTurn(fewer, whole)).toEqual([undefined, `${REFUSED} without "country"`]);
    expect(await openInTurn(whole, file(`${PLAIN}, columns: { owner: name }`))).toEqual([undefined, `${REFUSED} without "name"`]);
  });

  test('about steps is refused', async () => {
    const upper = file(`${PLAIN}, set: { owner: { from: owner, steps: [upper] } }`);
    const other = `${REFUSED} computed by other steps (\`set\`) than the file has`;
    expect(await openInTurn(file(PLAIN), upper)).toEqual([undefined, other]);
    expect(await openInTurn(upper, file(`${PLAIN}, set: { owner: { from: owner, steps: [lower] } }`), upper)).toEqual([
      undefined,
      other,
      undefined,
    ]);
  });

  test('about where is refused, whether rows would stay that it leaves out or rows be missing that it lets in; another order is no other', async () => {
    const where = (text: string): CompiledMapping => file(`${PLAIN}, where: { ${text} }`);
    const other = `${REFUSED} chosen by another \`where\` than the file has`;
    const both = where('country: [de, fr, null], owner: { not: [x, y] }');
    expect(await openInTurn(file(PLAIN), where('country: de'), file(PLAIN))).toEqual([undefined, other, undefined]);
    expect(
      await openInTurn(both, where('owner: { not: [y, x] }, country: [null, fr, de]'), where('country: [de, fr]'), file(PLAIN), both),
    ).toEqual([undefined, undefined, other, other, undefined]);
  });

  test('because the source has a new column is taken where that is NULL in all rows, and else refused; one that is gone may go', async () => {
    const grown = file(PLAIN, GROWN);
    expect(await openInTurn(file(PLAIN), grown, file(`${PLAIN}, drop: [city]`, GROWN))).toEqual([
      undefined,
      undefined,
      `${REFUSED} with "city", which the file drops`,
    ]);
    expect(await openInTurn(file(PLAIN), withDefault(grown, 'city'), file(`${PLAIN}, drop: [city]`, GROWN))).toEqual([
      undefined,
      `${REFUSED} without "city"`,
      undefined,
    ]);
    expect(await openInTurn(file(PLAIN), file(PLAIN, SHRUNK), file(PLAIN))).toEqual([undefined, undefined, `${REFUSED} without "country"`]);
  });
});
