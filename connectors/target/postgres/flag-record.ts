/**
 * The flags in the state row of the target: who serves, as the state says, and the read rules. Guarantee: a change of the rules and its audit record
 * are one transaction, under the row's lock; reading never waits for a cut-over, and never makes the row.
 */
import type pg from 'pg';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { type FlagDocument, versionOf } from '#schemas/flags/flag-document.ts';
import { readRulesSchema } from '#schemas/flags/flag-schema.ts';
import { changeRules, type ReadRules, type RulesChange } from '#schemas/flags/read-rules.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import { appendAudit } from './audit.ts';
import { ensureState, inState, STATE_SETTINGS } from './migration-state.ts';

/** A look that gets no answer in this time has failed: also where the network swallows everything, and no server says so. */
const READ_MS = 2_000;

export interface FlagChange {
  readonly change: RulesChange;
  readonly actor: string;
  readonly reason?: string;
  /** Of the rules that were looked at; another one is refused. */
  readonly ifVersion?: number;
  /** Taken when these are the first rules. */
  readonly freshSalt: string;
}

/** Keeps one session; one that was lost is opened again at the next look. */
export class FlagRecord {
  readonly #url: string;
  readonly #name: string;
  #client: Promise<pg.Client> | undefined;

  constructor(url: string, name: string) {
    this.#url = url;
    this.#name = name;
  }

  /** @throws PipelineError CF-5001, or what the server says */
  async read(): Promise<FlagDocument> {
    return this.#ask(async (client) => (await readFlags(client, [this.#name]))[0]!);
  }

  /** Of migrations on this target, as one moment has them; then those of others whose names begin so. @throws as `read` */
  async readAll(names: readonly string[], prefix: string): Promise<{ readonly named: FlagDocument[]; readonly others: FlagDocument[] }> {
    return this.#ask(async (client) => {
      const found = await readFlags(client, names, prefix);
      return { named: found.slice(0, names.length), others: found.slice(names.length) };
    });
  }

  async #ask<T>(look: (client: pg.Client) => Promise<T>): Promise<T> {
    this.#client ??= connect(this.#url, {
      applicationName: `crossfade ${this.#name} flags`,
      role: 'target',
      connectTimeoutMs: READ_MS,
    });
    const client = this.#client;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`the target has not answered in ${READ_MS} ms`)), READ_MS);
    });
    try {
      return await Promise.race([client.then(look), late]);
    } catch (error) {
      if (this.#client === client) this.#client = undefined;
      void client.then(destroy, () => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws PipelineError CF-8403, CF-5001, CF-5002; RangeError for what is no change */
  async change(change: FlagChange): Promise<FlagDocument> {
    const client = await connect(this.#url, { applicationName: `crossfade ${this.#name} flags`, role: 'target', settings: STATE_SETTINGS });
    try {
      await ensureState(client, this.#name);
      await changeFlags(client, this.#name, change);
      return (await readFlags(client, [this.#name]))[0]!;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.then(async (opened) => opened.end()).catch(() => undefined);
  }
}

/** Without a word to a server that may not hear it. */
function destroy(client: pg.Client): void {
  (client as unknown as { readonly connection: { readonly stream: { destroy(): void } } }).connection.stream.destroy();
}

/** Of all names, in their order; behind them of those found that begin with the prefix. */
async function readFlags(client: pg.Client, names: readonly string[], prefix: string | null = null): Promise<FlagDocument[]> {
  const isThere = (await client.query(`SELECT WHERE to_regclass('crossfade.migration') IS NOT NULL`)).rowCount === 1;
  const rows = isThere ? await queryRows(client, FLAGS, [names, prefix]) : [];
  const others = rows.map((row) => row['name']!).filter((name) => !names.includes(name));
  return [...names, ...others].map((name) =>
    flagsOf(
      name,
      rows.find((row) => row['name'] === name),
    ),
  );
}

const FLAGS = `SELECT name, serves, epoch::text AS epoch, version::text AS version, reads::text AS reads
  FROM crossfade.migration WHERE name = ANY ($1::text[]) OR starts_with(name, $2::text) ORDER BY name`;

/** Without a row nothing was ever begun. */
function flagsOf(name: string, row: Readonly<Record<string, string | null>> | undefined): FlagDocument {
  if (row === undefined) return { name, epoch: 0, state: 0, serves: 'source' };
  const rules = rulesOf(row['reads'] ?? null);
  return {
    name,
    epoch: Number(row['epoch']),
    state: Number(row['version']),
    serves: row['serves'] as Side,
    ...(rules !== undefined && { rules }),
  };
}

function rulesOf(json: string | null): ReadRules | undefined {
  return json === null ? undefined : readRulesSchema.parse(JSON.parse(json));
}

async function changeFlags(client: pg.Client, name: string, { change, actor, reason, ifVersion, freshSalt }: FlagChange): Promise<void> {
  await inState(client, name, async (row) => {
    const before = row.reads === undefined ? undefined : readRulesSchema.parse(row.reads);
    const version = versionOf(before === undefined ? {} : { rules: before });
    if (ifVersion !== undefined && ifVersion !== version)
      throw new PipelineError('CF-8403', `the read flags are at version ${version}, not at ${ifVersion}`);
    const rules = changeRules(before, change, freshSalt);
    await appendAudit(client, row, {
      actor,
      event: 'flags-set',
      details: { change, version: rules.version, ...(reason !== undefined && { reason }) },
    });
    await client.query('UPDATE crossfade.migration SET reads = $2::jsonb WHERE name = $1', [name, JSON.stringify(rules)]);
  });
}
