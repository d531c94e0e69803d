/** A role that may write the target's tables and nothing more: foreign keys are checked while it writes. */
import type { FreshDatabase } from './postgres.ts';

export interface PlainRole {
  /** As `sinkUrl` of a sink harness. */
  readonly sinkUrl: string;
  /** For the end of its `targetDdl`. */
  readonly ddl: string;
}

export function plainRole({ name, url }: FreshDatabase): PlainRole {
  const role = `plain_${name}_${process.pid}`;
  return {
    sinkUrl: url.replace(/\/\/[^@/]*@/, `//${role}:secret@`),
    ddl: `CREATE ROLE ${role} LOGIN PASSWORD 'secret'; CREATE SCHEMA crossfade AUTHORIZATION ${role}; GRANT USAGE ON SCHEMA new TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA new TO ${role}`,
  };
}
