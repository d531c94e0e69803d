/**
 * Whether the user's ACL lets the sink do its work. Guarantee: nothing is changed: from Redis 7 on the server is asked, before that commands
 * are run in forms that do nothing on a key that is not there; every finding names the commands or keys, and the line that grants them.
 */
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { messageOf, type Finding } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { keyPrefix, type KeyTemplate } from '#schemas/mapping/redis/key-template.ts';
import type { serversOf } from './connection.ts';
import { guardKey, ownKeys } from './names.ts';
import { packTexts } from './packer.ts';
import { ASK_RIGHTS } from './scripts.ts';

type Server = ReturnType<typeof serversOf>[number];

/** Arguments behind the name; KEY stands for a key that is not there. `?` in front: no form of it is without effect. */
const ALWAYS = [
  'HGET KEY f',
  'HMGET KEY f',
  'HGETALL KEY',
  'HSET KEY f v odd',
  '?HSETNX KEY f v',
  'HINCRBY KEY f odd',
  'GET KEY',
  'SET KEY v XX',
  'DEL KEY',
  'UNLINK KEY',
  'PEXPIRE KEY 1',
  'ZADD KEY XX 0 m',
  'ZRANGE KEY 0 0',
  'ZREMRANGEBYRANK KEY 0 0',
  '?EVALSHA x 0',
  '?SCRIPT LOAD x',
  'SCAN 0',
  'INFO server',
];

function commandsFor(tables: readonly TableMapping[]): string[] {
  const forms = tables.map(({ redis }) => redis!);
  const hashes = forms.filter(({ form }) => form === 'hash');
  return [
    ...ALWAYS,
    ...(hashes.length > 0 ? ['HDEL KEY f'] : []),
    ...(hashes.some(({ ttlSeconds }) => ttlSeconds === undefined) ? ['PERSIST KEY'] : []),
    ...(hashes.some(({ ttlSeconds }) => ttlSeconds !== undefined) ? ['EXPIRE KEY 1'] : []),
    ...(forms.some(({ form }) => form === 'json') ? ['GETRANGE KEY 0 0'] : []),
    ...(forms.some(({ sets }) => sets.length > 0) ? ['?SADD KEY m', 'SREM KEY m'] : []),
  ];
}

interface Reach {
  /** Some key of it. */
  readonly key: string;
  readonly pattern: string;
}

function reachOf(template: KeyTemplate): Reach {
  const key = template.parts.map((part) => (part.kind === 'text' ? part.text : '0')).join('');
  return { key, pattern: `~${keyPrefix(template)}*` };
}

function reachesFor(name: string, tables: readonly TableMapping[]): Reach[] {
  const keys = ownKeys(name);
  const own = [`${keys.progress}:rights`, guardKey(keys, 'rights', false)].map((key) => ({ key, pattern: '~crossfade:*' }));
  return [...own, ...tables.flatMap(({ redis }) => [redis!.key, ...redis!.sets].map(reachOf))];
}

const DENIED = /NOPERM/;

export async function checkRights(
  server: Server,
  { address, name, tables }: { readonly address: RedisAddress; readonly name: string; readonly tables: readonly TableMapping[] },
): Promise<Finding[]> {
  const user = decodeURIComponent(new URL(address.url).username) || 'default';
  const [reaches, commands] = [reachesFor(name, tables), commandsFor(tables)];
  const packed = [packTexts(reaches.map(({ key }) => key)), packTexts(commands)];
  const answer = await server.eval(ASK_RIGHTS, 0, ...packed, reaches[0]!.key).catch((error: unknown) => {
    if (DENIED.test(messageOf(error))) return undefined;
    throw error;
  });
  if (answer === undefined) return [lacking(user, ['EVAL'], '+@scripting')];
  const [keys, denied] = answer as [number[], number[]];
  const patterns = [...new Set(keys.map((i) => reaches[i - 1]!.pattern))];
  const names = denied.map((i) => commandName(commands[i - 1]!));
  const rights = names.map((command) => `+${command.toLowerCase()}`).join(' ');
  return [...(names.length > 0 ? [lacking(user, names, rights)] : []), ...(patterns.length > 0 ? [outOfReach(user, patterns)] : [])];
}

/** `SCRIPT|LOAD` of a command that has others under it. */
function commandName(form: string): string {
  const [first = '', second = ''] = form.replace('?', '').split(' ');
  return first === 'SCRIPT' ? `${first}|${second}` : first;
}

function lacking(user: string, commands: readonly string[], rights: string): Finding {
  return errorFinding(
    'CF-5002',
    `the user ${user} of Redis may not run ${commands.join(', ')}`,
    `Run on the server: ACL SETUSER ${user} ${rights}`,
  );
}

function outOfReach(user: string, patterns: readonly string[]): Finding {
  const shown = patterns.map((pattern) => pattern.slice(1)).join(', ');
  return errorFinding(
    'CF-5002',
    `the user ${user} of Redis may not reach the keys ${shown}`,
    `Run on the server: ACL SETUSER ${user} ${patterns.join(' ')}`,
  );
}
