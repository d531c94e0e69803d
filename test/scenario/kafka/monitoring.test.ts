/** What deploy/ has for Prometheus and Grafana, held against what running services tell. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { freePort } from '#test/support/kafka/ports.ts';
import { openServices } from '#test/support/kafka/services-stage.ts';
import { ROOT } from './compose-project.ts';

const LONG_MS = 120_000;
const SERVICES = ['reader', 'transformer', 'sink', 'reconciler', 'control'];
const DASHBOARD = join(ROOT, 'deploy', 'dashboards', 'crossfade.json');
const ALERTS = join(ROOT, 'deploy', 'alerts', 'crossfade.yml');

/** `up` alone flips, and watches triggers: test/unit/services/up/metric-names.test.ts has the rest. */
const ONLY_UP = /^crossfade_(?:trigger|reverse)_/;

interface Dashboard {
  readonly panels: readonly { readonly id: number; readonly targets: readonly { readonly expr: string }[] }[];
}

interface Alerts {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
}

function asked(): readonly string[] {
  const { panels } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as Dashboard;
  const { groups } = parse(readFileSync(ALERTS, 'utf8')) as Alerts;
  const rules = groups.flatMap((group) => group.rules);
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const exprs = [...panels.flatMap(({ targets }) => targets), ...rules].map(({ expr }) => expr);
  return exprs.flatMap((expr) => expr.match(/crossfade_\w+/g) ?? []);
}

describeWithKafka('metrics over Kafka', () => {
  test(
    'the dashboard and the alerts ask for what running services print, the signs of life of each kind of service among it',
    async () => {
      await using stage = await openServices({
        tables: 'CREATE TABLE a (id int PRIMARY KEY)',
        rows: 'INSERT INTO a VALUES (1)',
        rest: 'heartbeatSeconds: 1\ntables:\n  - from: public.a\n',
      });
      const ports = new Map<string, number>();
      for (const service of SERVICES) {
        const port = await freePort();
        ports.set(service, port);
        stage.start(service, service, ['--port', String(port)]);
      }
      const printed = async (service: string): Promise<string> => (await fetch(`http://127.0.0.1:${ports.get(service)}/metrics`)).text();
      await stage.untilSame('SELECT id FROM a');
      const known = new Set<string>();
      await stage.until(async () => {
        for (const service of SERVICES)
          for (const [, name] of (await printed(service)).matchAll(/^# TYPE (crossfade_\w+)/gm)) known.add(name!);
        expect([...known]).toContain('crossfade_lag_seconds');
        expect(await printed('reader')).toContain('crossfade_reader_active 1\n');
        expect(await printed('sink')).toContain('crossfade_sink_active 1\n');
        expect(await printed('transformer')).toContain('crossfade_partitions_held 3\n');
      });
      const names = asked();
      expect(names.filter((name) => !known.has(name) && !ONLY_UP.test(name))).toEqual([]);
      const signs = ['reader_active', 'sink_active', 'partitions_held', 'transformer_failures', 'dead_letters', 'tables_held'];
      for (const sign of signs) expect(names.filter((name) => name === `crossfade_${sign}`).length, sign).toBeGreaterThan(1);
    },
    LONG_MS,
  );
});
