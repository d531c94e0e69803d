/** Functions that triggers of ours call. Guarantee: each is as this build has it, made by one at a time, and goes only when no trigger calls it. */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import { quoteLiteral } from '#schemas/table.ts';

/** Needs the schema; replaced only where it differs, and by one at a time: both sides may be of one database. */
export async function ensureTriggerFunction(client: pg.ClientBase, name: string, body: string, rights = ''): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const found = await queryRow(client, `SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('${name}')`);
    return found?.['prosrc'] === body;
  };
  if (await isThere()) return;
  await client.query(`BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('crossfade fence', 0))`);
  try {
    if (!(await isThere()))
      await client.query(`CREATE OR REPLACE FUNCTION ${name} RETURNS trigger LANGUAGE plpgsql ${rights} AS ${quoteLiteral(body)}`);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

export async function dropTriggerFunction(client: pg.ClientBase, name: string): Promise<void> {
  await client.query(`DO $$ BEGIN DROP FUNCTION IF EXISTS ${name}; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END $$`);
}
