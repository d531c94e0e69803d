/**
 * Who serves, by the journals of both sides. Guarantee: an answer is of a moment later than the question; where a side cannot be asked there
 * is none, nor where the journals have lost the decision by which the target serves.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import { PipelineError } from '#schemas/errors.ts';
import { isBereft, whoServes } from '#schemas/migration/recovery.ts';
import type { Side } from '#schemas/migration/transitions.ts';

const LOOK_EVERY_MS = 1_000;

export interface Sides {
  /** The migration's, not a direction's. */
  readonly name: string;
  readonly source: string;
  readonly target: string;
}

/** Redis keeps no journal: nothing is ever asked of it. */
export function sidesOf({ name, source, target }: MigrationFile): Sides {
  return { name, source: source.postgres, target: target.postgres ?? '' };
}

export class ServingSide implements AsyncDisposable {
  readonly #sides: Sides;
  readonly #clients = new Map<Side, pg.Client>();
  /** One question at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #known: Side | undefined;
  #isClosed = false;

  constructor(sides: Sides) {
    this.#sides = sides;
  }

  /** The migration's: its journals are asked. */
  get name(): string {
    return this.#sides.name;
  }

  /** As it was known last; undefined: nobody has asked. */
  get known(): Side | undefined {
    return this.#known;
  }

  /** The forward direction is the one that counts, as far as is known. */
  get isForward(): boolean {
    return this.#known !== 'target';
  }

  /** Fires when the target has begun to serve, or with `signal`. */
  forwardOnly(signal: AbortSignal): AbortSignal {
    const flipped = new AbortController();
    void this.#wait((isForward) => !isForward, signal).then(() => flipped.abort());
    return AbortSignal.any([signal, flipped.signal]);
  }

  /** Resolves once the source serves, or with `signal`. */
  async untilForward(signal: AbortSignal): Promise<void> {
    await this.#wait((isForward) => isForward, signal);
  }

  async #wait(isSo: (isForward: boolean) => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !isSo(this.isForward)) await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }

  /** @throws PipelineError CF-2001, CF-5001, or what ended a session; CF-8005 where the journals lack what the state knows */
  async ask(): Promise<Side> {
    const mine = this.#turn.then(async () => this.#ask());
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #ask(): Promise<Side> {
    const { name } = this.#sides;
    try {
      // The target's first: a rollback that is found there has made its cut-over on the source long before.
      const target = await readJournalRows(await this.#client('target'), name);
      const source = await readJournalRows(await this.#client('source'), name);
      const journals = { source, target };
      const standing = await readStateRow(await this.#client('target'), name);
      if (isBereft(standing, journals)) throw bereft(name);
      this.#known = whoServes(journals);
      return this.#known;
    } catch (error) {
      await this.#hangUp();
      throw error;
    }
  }

  /** Keeps what is known up to date. Never rejects. */
  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.ask().catch(() => undefined);
      await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #client(side: Side): Promise<pg.Client> {
    if (this.#isClosed) throw new PipelineError('CF-7002', 'nobody is asked any more');
    let client = this.#clients.get(side);
    if (client === undefined) {
      client = await connect(this.#sides[side], {
        applicationName: 'crossfade journal',
        role: side,
        settings: { statement_timeout: '10000' },
      });
      this.#clients.set(side, client);
    }
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    await this.#hangUp();
  }

  async #hangUp(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.all(clients.map(async (client) => client.end().catch(() => undefined)));
  }
}

/** The target may have begun to serve meanwhile: then it is not what the source is. @throws Error */
export async function requireForward(serving: Pick<ServingSide, 'ask'>): Promise<void> {
  if ((await serving.ask()) === 'target') throw new Error('the target serves');
}

export function bereft(name: string): PipelineError {
  return new PipelineError(
    'CF-8005',
    `the target serves by the state of ${name}, and the journal of the source has no decision of it any more`,
  );
}
