/** What stands in the way on the Redis side. Guarantee: read-only, and every finding names the setting that mends it. */
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, warningFinding } from '#schemas/finding.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { ZERO_LSN } from '#schemas/lsn.ts';
import { connectRedis, serversOf, type RedisClient } from './connection.ts';
import { ownKeys } from './names.ts';
import { checkRights } from './rights.ts';
import { readStoredProgress } from './progress.ts';
import { hasKeys } from './table-keys.ts';

export interface RedisReport {
  readonly findings: readonly Finding[];
  /** Redis holds rows of this migration, or a position in its stream. */
  readonly resumed: boolean;
  readonly checks: readonly string[];
}

/** `mapping`: absent when the file does not fit. @throws PipelineError CF-5001, CF-5002 */
export async function checkRedis(address: RedisAddress, name: string, mapping: CompiledMapping | undefined): Promise<RedisReport> {
  const client = await connectRedis(address, `crossfade ${name} check`);
  try {
    const findings: Finding[] = [];
    const checks: string[] = [];
    for (const server of serversOf(client)) findings.push(...(await checkRights(server, { address, name, tables: mapping?.tables ?? [] })));
    checks.push('target: rights');
    const lacksRights = findings.length > 0;
    const stored = await readStoredProgress(client, name, ownKeys(name)).catch((error: unknown) => {
      if (lacksRights) return undefined;
      throw error;
    });
    const resumed =
      stored !== undefined && (stored.progress.appliedLsn !== undefined || stored.tables.some(({ lsn }) => (lsn ?? ZERO_LSN) > ZERO_LSN));
    // What follows needs them.
    if (lacksRights) return { findings: withoutRepeats(findings), resumed, checks };
    for (const server of serversOf(client)) {
      const info = parseInfo(await server.info());
      findings.push(...(await checkServer(info, address, async (setting) => readSetting(server, setting))));
    }
    checks.push('target: server', 'target: persistence', 'target: eviction');
    if (stored === undefined && mapping !== undefined) findings.push(...(await checkKeys(client, mapping)));
    checks.push('target: keys');
    return { findings: withoutRepeats(findings), resumed, checks };
  } finally {
    client.disconnect();
  }
}

type Info = Readonly<Record<string, string>>;

function parseInfo(text: string): Info {
  const lines = text.split('\r\n').filter((line) => line.includes(':'));
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]));
}

/** Undefined where a managed service hides it. */
async function readSetting(server: Pick<ReturnType<typeof serversOf>[number], 'config'>, setting: string): Promise<string | undefined> {
  try {
    return (await server.config('GET', setting))[1];
  } catch {
    return undefined;
  }
}

const VERSION_MIN = [6, 2] as const;

async function checkServer(info: Info, address: RedisAddress, setting: (name: string) => Promise<string | undefined>): Promise<Finding[]> {
  const findings: Finding[] = [];
  const version = info['redis_version'] ?? '0';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]))
    findings.push(errorFinding('CF-5008', `Redis is ${version}; 6.2 or later is needed`, 'Use a newer server.'));
  if (info['role'] !== undefined && info['role'] !== 'master')
    findings.push(errorFinding('CF-5008', 'Redis is a replica, which takes no writes', 'Name the primary in the URL.'));
  const isClustered = info['cluster_enabled'] === '1';
  if (isClustered !== address.cluster) {
    const remedy = isClustered ? 'Write target: { redis: { url: …, cluster: true } }.' : 'Take `cluster: true` out.';
    findings.push(
      errorFinding('CF-5008', `Redis is ${isClustered ? 'a node of a cluster' : 'no cluster'}, the file says otherwise`, remedy),
    );
  }
  if (info['aof_enabled'] !== '1' && (await setting('save')) === '')
    findings.push(
      warningFinding(
        'CF-5008',
        'Redis keeps nothing on disk: after a restart all rows are gone, and the progress with them',
        'Run on the server: CONFIG SET appendonly yes (and set it in its configuration).',
      ),
    );
  const policy = info['maxmemory_policy'] ?? (await setting('maxmemory-policy'));
  if (policy !== undefined && policy !== 'noeviction')
    findings.push(
      warningFinding(
        'CF-5008',
        `Redis may drop keys when its memory is full (maxmemory-policy ${policy}): rows, and what guards them, would be lost`,
        'Run on the server: CONFIG SET maxmemory-policy noeviction',
      ),
    );
  return findings;
}

async function checkKeys(client: RedisClient, { tables }: CompiledMapping): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { existing, redis, to } of tables) {
    if (existing !== 'refuse' || !(await hasKeys(client, redis!))) continue;
    findings.push(
      errorFinding(
        'CF-5004',
        `Redis already holds keys of ${to.schema}.${to.name} (${redis!.key.text})`,
        'Say `existing: merge` or `existing: truncate` for it, give it another key, or remove them.',
      ),
    );
  }
  return findings;
}

function withoutRepeats(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ message }, i) => findings.findIndex((other) => other.message === message) === i);
}
