/**
 * The reverse path of a running instance. Guarantee: it stands while `crossfade.migration.reverse_wanted` says so; whatever ends it, it is
 * started again with growing waits, and the forward direction never knows; when it is not wanted any more while the source serves, nothing of it stays. At most one runs: the log's lock and the sink's see to that.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';
import { formatLsn } from '#schemas/lsn.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { whyNoReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { ReverseStatus } from '#schemas/status/status-result.ts';
import { waitBackoff, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger, Service } from '#services/runtime/service.ts';
import { controlActions } from '../actions.ts';
import type { Running } from '../assemble.ts';
import type { ReverseActions } from '../http/control-routes.ts';
import { removeReverse } from './begin-reverse.ts';
import { runReverse } from './run-reverse.ts';
import type { ServingSide } from './serving-side.ts';

const LOOK_EVERY_MS = 500;
const RETRY: Backoff = { firstMs: 200, lastMs: 10_000 };
/** A path that ran as long as this begins its waits anew. */
const STOOD_MS = 60_000;

type ReverseOptions = Pick<RunUpOptions, 'file' | 'dataDir' | 'logger' | 'environment' | 'reverseAnew'>;

export class ReverseService implements Service {
  readonly id = 'reverse';
  readonly #options: ReverseOptions;
  readonly #serving: ServingSide;
  readonly #logger: Logger;
  #client: pg.Client | undefined;
  /** Undefined: nobody was asked yet. */
  #isWanted: boolean | undefined;
  #running: Running | undefined;
  /** Fires when what runs has ended. */
  #stood = new AbortController();
  #restarts = 0;
  #error: string | undefined;
  /** The operator's word is for what was lost when it was given. */
  #mayLose: boolean;

  constructor(options: ReverseOptions, serving: ServingSide) {
    this.#options = options;
    this.#serving = serving;
    this.#mayLose = options.reverseAnew === true;
    this.#logger = reverseLogger(options.logger);
  }

  /** Undefined: it is not wanted. */
  status(): ReverseStatus | undefined {
    if (this.#isWanted !== true) return undefined;
    const reader = this.#running?.reader.status();
    const applied = this.#running?.targets.appliedLsn();
    const current = reader?.currentLsn;
    const error = this.#error ?? reader?.error;
    const held = this.#held();
    return {
      connected: reader?.connected === true && this.#running?.targets.missing() === undefined,
      appliedLsn: applied === undefined ? null : formatLsn(applied),
      lagBytes: applied === undefined || current === undefined ? null : Number(current > applied ? current - applied : 0n),
      restarts: this.#restarts,
      ...(held.length > 0 && { held }),
      ...(error !== undefined && { error }),
    };
  }

  /** Rollbacks wait for each of them. */
  #held(): NonNullable<ReverseStatus['held']> {
    const applied = this.#running?.targets.all.flatMap(({ sink }) => sink.status().tables) ?? [];
    return applied.flatMap(({ from, to, state, error }) =>
      state === 'held' ? [{ from: `${from.schema}.${from.name}`, to: `${to.schema}.${to.name}`, error: error ?? 'unknown cause' }] : [],
    );
  }

  /** For as long as the instance runs; refused while the path does not stand. */
  actions(signal: AbortSignal): ReverseActions {
    const standing = (): ReverseActions => {
      // Nobody waits for a path that is gone.
      const until = AbortSignal.any([signal, this.#stood.signal]);
      // What is being taken away takes on nothing that it could not end.
      if (this.#running !== undefined && this.#isWanted !== false) return controlActions(this.#running, until);
      const why = this.#error ?? (this.#isWanted === false ? 'it is not wanted' : 'it is being started');
      throw new PipelineError('CF-8204', `the way back does not stand: ${why}`);
    };
    return {
      recopy: async (request) => standing().recopy(request),
      marker: async (request) => standing().marker(request),
      // Of a path that does not stand nothing is held that could be told.
      resume: async () => (this.#running === undefined ? undefined : standing().resume()),
    };
  }

  /** Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        await this.#look();
        if (this.#isWanted === true) await this.#stand(signal);
        await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
      }
    } finally {
      await this.#close();
    }
  }

  /** As it was wanted last, where nobody can be asked. */
  async #look(): Promise<void> {
    try {
      this.#client ??= await connect(this.#options.file.target.postgres!, { applicationName: 'crossfade state', role: 'target' });
      const row = await readStateRow(this.#client, this.#options.file.name);
      this.#isWanted = row?.reverseWanted === true;
    } catch (error) {
      this.#logger.debug({ error: messageOf(error) }, 'The state could not be read');
      await this.#close();
    }
  }

  async #close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  /** Until it is not wanted any more. */
  async #stand(signal: AbortSignal): Promise<void> {
    const unwanted = new AbortController();
    const ended = AbortSignal.any([signal, unwanted.signal]);
    const looking = this.#lookUntil(ended, () => unwanted.abort());
    for (let attempt = 0; !ended.aborted; attempt++) {
      const begun = performance.now();
      try {
        await runReverse({
          options: { ...this.#options, logger: this.#logger },
          serving: this.#serving,
          mayLose: this.#mayLose,
          signal: ended,
          onRunning: (running) => {
            this.#running = running;
            this.#mayLose = false;
            this.#error = undefined;
          },
        });
      } catch (error) {
        if (ended.aborted) break;
        this.#error = messageOf(error);
        this.#restarts++;
        const code = error instanceof PipelineError ? error.code : undefined;
        this.#logger.error({ error: this.#error, ...(code !== undefined && { code }) }, 'The reverse path ended; it is started again');
        if (performance.now() - begun > STOOD_MS) attempt = 0;
        await waitBackoff(RETRY, attempt, ended).catch(() => undefined);
      } finally {
        this.#running = undefined;
        this.#stood.abort();
        this.#stood = new AbortController();
      }
    }
    await looking;
    if (!signal.aborted) await this.#remove();
  }

  /** A slot that nobody reads would hold the target's WAL. While the target serves it is what a rollback needs: cleanup takes it away. */
  async #remove(): Promise<void> {
    const { file } = this.#options;
    try {
      if ((await this.#serving.ask()) === 'target') return;
      await removeReverse({ source: file.source.postgres, target: file.target.postgres!, name: reverseName(file.name) });
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'What is left of the reverse path could not be removed');
    }
  }

  async #lookUntil(ended: AbortSignal, unwanted: () => void): Promise<void> {
    while (!ended.aborted) {
      await delay(LOOK_EVERY_MS, undefined, { signal: ended }).catch(() => undefined);
      await this.#look();
      if (this.#isWanted !== true) unwanted();
    }
  }
}

/** Undefined: the file has no way back, and nobody can want one. */
export function reverseService(options: RunUpOptions, serving: ServingSide): ReverseService | undefined {
  return whyNoReverse(options.file) === undefined ? new ReverseService(options, serving) : undefined;
}

function reverseLogger(logger: Logger): Logger {
  const direction = 'reverse';
  return {
    info: (details, message) => logger.info({ direction, ...details }, message),
    warn: (details, message) => logger.warn({ direction, ...details }, message),
    error: (details, message) => logger.error({ direction, ...details }, message),
    debug: (details, message) => logger.debug({ direction, ...details }, message),
  };
}
