/** Names of metrics are promises: what papers, dashboard and alerts ask for has to be printed by somebody. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..', '..', '..', '..');

/** What somebody looks at who already has an alert, or who plans; no value of it is wrong by itself. */
const WITHOUT_ALERT = [
  'changes_applied',
  'comparisons',
  'conflicts', // settled by the policy that the file chose
  'copy_paused', // an operator asked for it
  'differing_rows', // drift_rows has the alert
  'drift_by_cause', // and its alert names this
  'epoch',
  'inconclusive_by_cause',
  'inconclusive_parts',
  'inconclusive_tables',
  'lag_bytes', // lag_seconds has it
  'log_bytes',
  'oldest_proof_age_seconds',
  'proved_ratio',
  'records_left_out',
  'records_mapped',
  'records_misfit', // the sink holds the table: tables_held has it
  'records_repeated',
  'records_unmapped', // they are set aside: dead_letters has it
  'restarts',
  'reverse_lag_bytes',
  'rows_copied',
  'source_connected', // the lag grows
  'target_connected', // the lag grows
  // By target, what has an alert over all of them.
  'target_dead_letters',
  'target_drift_rows',
  'target_lag_bytes',
  'target_lag_seconds',
  'target_reachable',
  'target_tables_held',
];

/** Roles of the examples: no metrics. */
const ROLES = ['source', 'target'];

function read(pattern: string): string {
  const paths = globSync(pattern, { cwd: root });
  expect(paths, pattern).not.toEqual([]);
  return paths.map((path) => readFileSync(join(root, path), 'utf8')).join('\n');
}

function named(text: string): Set<string> {
  return new Set([...text.matchAll(/\bcrossfade_([a-z_]*[a-z])\b/g)].map(([, name]) => name!));
}

function printed(): Set<string> {
  const code = read('services/**/*.ts');
  const own = [...code.matchAll(/\bmeter\.(?:gauge|labelled|counter|histogram)\(\s*\{\s*name: '(\w+)'/g)].map(([, name]) => name!);
  const each = [...code.matchAll(/\beach\(\s*'(\w+)'/g)].map(([, name]) => `target_${name!}`);
  const made = code.matchAll(/\bmeter\.(?:gauge|labelled|counter|histogram)\(/g);
  expect([...made]).toHaveLength(own.length + 1); // so none is missed; the one is the template of `each`
  return new Set([...own, ...each]);
}

function alerted(): Set<string> {
  const { groups } = parse(read('deploy/alerts/*.yml')) as { groups: { rules: { expr: string }[] }[] };
  return named(groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)).join('\n'));
}

test('every metric that papers, dashboard or alerts name is printed', () => {
  const known = printed();
  const asked = named(['*.md', 'docs/**/*.md', 'deploy/dashboards/*.json'].map(read).join('\n'));
  for (const some of ['trigger_fired', 'lag_seconds', 'proved_ratio']) expect(asked).toContain(some);
  expect([...asked, ...alerted()].filter((name) => !known.has(name) && !ROLES.includes(name))).toEqual([]);
});

test('every metric has an alert, or it was decided that it needs none', () => {
  const asked = alerted();
  expect([...printed()].filter((name) => !asked.has(name)).toSorted()).toEqual(WITHOUT_ALERT);
});
