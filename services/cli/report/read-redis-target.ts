/**
 * What a Redis target and this machine say of a migration, for its report. Guarantee: changes nothing. There is no flip, no plan's record and no row set aside
 * with such a target: those parts of the report are empty, and true.
 */
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { addressOf } from '#schemas/plan/build-plan.ts';
import type { PlanPlace } from '#schemas/plan/plan-document.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { readKeptFindings } from '#services/runtime/kept-findings.ts';
import type { TargetFacts } from './target-facts.ts';

export interface RedisOptions {
  readonly name: string;
  readonly targetName: string | undefined;
  readonly dataDir: string;
}

/** @throws PipelineError CF-5001, CF-5002 */
export async function readRedisTarget(address: RedisAddress, { name, targetName, dataDir }: RedisOptions): Promise<TargetFacts> {
  // Its client is loaded only where it is needed.
  const [{ readRedisTrail }, { readStoredState }] = await Promise.all([
    import('#connectors/target/redis/audit.ts'),
    import('#connectors/target/redis/stored-state.ts'),
  ]);
  const stored = await readStoredState(address, name);
  return {
    row: undefined,
    plans: [],
    tables: stored?.tables ?? [],
    setAside: 0,
    renames: [],
    audit: await readRedisTrail(address, name),
    comparisons: [],
    checks: [],
    findings: readKeptFindings(dataDir, targetName).toReversed(),
    approvals: [],
  };
}

export function redisPlace({ url, cluster }: RedisAddress): PlanPlace {
  return { server: cluster ? 'Redis Cluster' : 'Redis', address: addressOf(url) };
}

/** Progress and audit trail, under one name. */
export function redisRemnant(name: string, place: string): Remnant {
  return {
    place,
    kind: 'keys',
    name: `crossfade:{${name}}:*`,
    detail: 'how far the target is, and the audit trail',
    holdsData: false,
    fate: 'hand',
    how: 'redis-cli DEL each of them, when nobody needs the trail any more',
  };
}
