import { expect, test } from 'vitest';
import { explainReply } from '#connectors/target/redis/connection.ts';
import type { PipelineError } from '#schemas/errors.ts';

test.for([
  ['CF-5002', "NOPERM User mover has no permissions to run the 'eval' command"],
  ['CF-5002', "ERR ACL failure in script: User mover has no permissions to run the 'persist' command"],
  ['CF-5002', 'ERR ACL failure in script: No permissions to access a key'],
  ['CF-5002', "The user executing the script can't run this command or subcommand"],
  ['CF-5003', 'WRONGTYPE Operation against a key holding the wrong kind of value'],
])('%s is what an operator reads of: %s', ([code, message]) => {
  const reply = Object.assign(new Error(message), { name: 'ReplyError' });
  expect((explainReply(reply) as PipelineError).code).toBe(code);
});
