/** A trigger of a running instance, fed by what applications report: it rolls back by itself, and no write is lost. */
import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

const DDL = 'CREATE TABLE orders (id bigint PRIMARY KEY, note text NOT NULL)';

test(
  '2 % of errors after the cut-over: the source serves again by itself, with what was written on the target',
  { timeout: 180_000 },
  async () => {
    let rate = 0.001;
    const health = createServer((_request, response) => void response.end(JSON.stringify({ errors: { share: rate } }))).listen(
      0,
      '127.0.0.1',
    );
    await once(health, 'listening');
    try {
      const address = `http://127.0.0.1:${(health.address() as AddressInfo).port}/`;
      const rest = `tables:\n  - from: public.*\ntriggers:\n  - { name: errors, when: errors, window: 10s, action: rollback, from: { http: { url: "${address}", value: errors.share } } }\n`;
      await using stage = await flipStage({ ddl: DDL, rows: `INSERT INTO orders SELECT i, 'old' FROM generate_series(1, 100) AS i`, rest });
      const there = await stage.command('cutover', '--confirm', 'scenario');
      expect(there.run.exitCode, there.run.stdout + there.run.stderr).toBe(0);
      await execute(stage.target, `INSERT INTO orders VALUES (1000, 'on the target')`);
      await until(() => stage.instance().status()?.triggers?.[0]?.state === 'quiet', 'the trigger to be armed');

      rate = 0.02;
      await until(async () => (await standing(stage, 'orders')).state === 'following', 'the rollback');
      expect(await standing(stage, 'orders')).toMatchObject({ serves: 'source', refuses: { source: false, target: true } });
      expect(await execute(stage.source, 'SELECT note FROM orders WHERE id = 1000')).toEqual([{ note: 'on the target' }]);
      const report = await stage.command('report');
      expect(report.envelope.result).toMatchObject({
        serves: 'source',
        acts: [
          { kind: 'cutover', outcome: 'done' },
          { kind: 'rollback', outcome: 'done', by: expect.stringContaining('trigger errors') as string },
        ],
        incidents: [{ what: expect.stringContaining('The trigger errors fired: ') as string, isOver: true }],
        audit: { ok: true },
      });
      await until(() => stage.instance().status()?.triggers === undefined, 'the triggers to rest');
    } finally {
      health.close();
    }
  },
);
