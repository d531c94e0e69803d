import { expect, test } from 'vitest';
import { ServingSide } from '#services/up/reverse/serving-side.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('two who ask at once share one session a side', { timeout: 60_000 }, async () => {
  await using source = await freshDatabase(18);
  await using target = await freshDatabase(18);
  await using serving = new ServingSide({ name: 'scenario', source: source.url, target: target.url });
  expect(await Promise.all([serving.ask(), serving.ask()])).toEqual(['source', 'source']);
  for (const { url } of [source, target]) {
    const open = `SELECT count(*)::text AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crossfade journal%'`;
    expect(await execute(url, open)).toEqual([{ n: '1' }]);
  }
});
