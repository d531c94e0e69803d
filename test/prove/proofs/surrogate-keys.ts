import { setTimeout as delay } from 'node:timers/promises';
import type { Failpoint } from '#schemas/test-hooks.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import {
  SURROGATE_FILL,
  SURROGATE_ORPHANS,
  SURROGATE_SAME,
  SURROGATE_SOURCE,
  SURROGATE_TARGET,
  surrogateChanges,
  surrogateFile,
} from '#test/support/surrogate-tables.ts';
import { openProofStage, requireVerified, runUntilCaughtUp, type ProofStage } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

type Strike = readonly [point: Failpoint, count: number];

/** While rows are copied: before, in and after an allocation and a commit, and at the copy's own points. */
const COPYING: readonly Strike[] = [
  ['sink.keys-sent', 1],
  ['sink.keys-allocated', 2],
  ['sink.committed', 3],
  ['sink.keys-sent', 4],
  ['chunk.durable', 3],
  ['sink.commit', 3],
  ['sink.applied', 5],
  ['sink.keys-allocated', 7],
  ['sink.begin', 6],
];
const FOLLOWING: readonly Strike[] = [
  ['changeover', 1],
  ['sink.keys-sent', 2],
  ['sink.committed', 4],
  ['sink.keys-allocated', 3],
  ['sink.commit', 5],
  ['log.synced', 9],
  ['sink.keys-allocated', 8],
  ['slot.confirm', 1],
  ['sink.applied', 12],
  ['sink.keys-sent', 9],
  ['sink.committed', 11],
];
const SMALL = { copying: COPYING.slice(0, 2), following: FOLLOWING.slice(0, 3) };
const STRIKE_PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 150;

/** What a strike that was not reached in time becomes. */
const OUTSIDE = 'outside';

export const surrogateKeysProof: Proof = {
  name: 'surrogate-keys',
  claim: 'foreign keys resolve through surrogate keys with children arriving before parents; no id is allocated twice over 20 crashes',
  expectedSeconds: 240,
  run: async (context) => {
    const { copying, following } = context.size === 'full' ? { copying: COPYING, following: FOLLOWING } : SMALL;
    return await runStrikes(context, { copying, following });
  },
};

/** The same where a key that is asked for again is given another id: the journal must show it. */
export const surrogateKeysRedProof: Proof = {
  name: 'surrogate-keys-is-red-without-its-guard',
  claim: 'with a key given another id when it is asked for again, the same journal shows keys that changed their id',
  expectedSeconds: 60,
  run: async (context) => {
    const strikes = { copying: SMALL.copying, following: SMALL.following.slice(0, 2) };
    const fault = await runStrikes(context, { ...strikes, env: { CROSSFADE_TEST_DISABLE: 'key-once' } }).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    if (fault?.includes('changed its id') !== true) throw new Error(`the journal did not show it, but: ${fault ?? 'nothing'}`);
    return { example: fault.split('\n')[0]! };
  },
};

interface Plan {
  readonly copying: readonly Strike[];
  readonly following: readonly Strike[];
  readonly env?: Readonly<Record<string, string>>;
}

async function runStrikes({ say }: ProofContext, { copying, following, env = {} }: Plan): Promise<Figures> {
  await using stage = await openProofStage({
    name: 'surrogates',
    file: surrogateFile('slow'),
    sourceSql: `${SURROGATE_SOURCE};${SURROGATE_FILL}`,
    targetSql: SURROGATE_TARGET,
  });
  const journal = new IdJournal(stage);
  await using writer = startWriter(stage);
  const struck: string[] = [];
  const strikeAll = async (strikes: readonly Strike[]): Promise<void> => {
    for (const one of strikes) {
      const where = await strike(stage, journal, { one, env });
      struck.push(where);
      say(`#${struck.length} ${where}`);
    }
  };
  await strikeAll(copying);
  stage.writeFile(surrogateFile('fast'));
  await strikeAll(following);
  const rounds = await writer.stop();
  await runUntilCaughtUp({ ...stage, pipeline: { ...stage.pipeline, env } });
  await journal.look();
  const rows = await requireSame(stage);
  await requireVerified(stage);
  return {
    kills: struck.length,
    'at a failpoint': struck.filter((where) => where !== OUTSIDE).length,
    'around an allocation': struck.filter((where) => where.startsWith('sink.keys')).length,
    'rounds written': rounds,
    'rows equal by natural keys': rows,
    'ids in the journal': journal.ids,
    'looks at the target': journal.looks,
    'keys that changed their id': 0,
    'ids of two keys': 0,
  };
}

async function strike(
  stage: ProofStage,
  journal: IdJournal,
  { one: [point, count], env }: { readonly one: Strike; readonly env: Readonly<Record<string, string>> },
): Promise<string> {
  await using pipeline = Pipeline.start({ ...stage.pipeline, env: { ...env, CROSSFADE_TEST_FAILPOINT: `${point}:${count}` } });
  const deadline = Date.now() + STRIKE_PATIENCE_MS;
  while (pipeline.result === undefined && Date.now() < deadline) {
    await Promise.race([pipeline.ended(), delay(LOOK_EVERY_MS)]);
    await journal.look();
  }
  const isReached = pipeline.result !== undefined;
  if (!isReached) await pipeline.kill();
  if (pipeline.result?.signal !== 'SIGKILL')
    throw new Error(`crossfade up ended by itself, exit code ${pipeline.result?.code}, at ${point}:${count}\n${pipeline.logTail()}`);
  return isReached ? `${point}:${count}` : OUTSIDE;
}

/** Every pair of key and id that was ever seen, in the map and in rows that hold their old key. */
class IdJournal {
  readonly #stage: ProofStage;
  readonly #idOf = new Map<string, string>();
  readonly #keyOf = new Map<string, string>();
  looks = 0;

  constructor(stage: ProofStage) {
    this.#stage = stage;
  }

  get ids(): number {
    return this.#keyOf.size;
  }

  /** @throws Error naming a key that has another id than before, or an id that has another key. */
  async look(): Promise<void> {
    const [known] = await execute(this.#stage.targetUrl, `SELECT to_regclass('crossfade.key_map')::text AS map`);
    if (known?.['map'] === null) return;
    this.looks++;
    const rows = await execute(
      this.#stage.targetUrl,
      `SELECT domain, source_key AS key, target_key AS id FROM crossfade.key_map
       UNION ALL SELECT 'public.customer', legacy::text, id::text FROM client
       UNION ALL SELECT 'public.country', code, id::text FROM land`,
    );
    for (const { domain, key, id } of rows) this.#note(domain!, key!, id!);
  }

  #note(domain: string, key: string, id: string): void {
    const [byKey, byId] = [`${domain} ${key}`, `${domain} ${id}`];
    const [before, other] = [this.#idOf.get(byKey), this.#keyOf.get(byId)];
    if (before !== undefined && before !== id) throw new Error(`key ${key} of ${domain} changed its id from ${before} to ${id}`);
    if (other !== undefined && other !== key) throw new Error(`id ${id} of ${domain} belongs to the keys ${other} and ${key}`);
    this.#idOf.set(byKey, id);
    this.#keyOf.set(byId, key);
  }
}

/** By SQL of the proof's own: both sides by their natural keys, every foreign key at its parent. @returns rows compared. */
async function requireSame(stage: ProofStage): Promise<number> {
  let rows = 0;
  for (const [source, target] of SURROGATE_SAME) {
    const [here, there] = [await execute(stage.sourceUrl, source), await execute(stage.targetUrl, target)];
    rows += here.length;
    const at = here.findIndex((row, i) => JSON.stringify(row) !== JSON.stringify(there[i]));
    if (at >= 0 || here.length !== there.length)
      throw new Error(`${source}\n${here.length} and ${there.length} rows; ${JSON.stringify(here[at])}, ${JSON.stringify(there[at])}`);
  }
  const orphans = await execute(stage.targetUrl, SURROGATE_ORPHANS);
  if (orphans.length > 0) throw new Error(`rows that refer to nothing: ${JSON.stringify(orphans.slice(0, 10))}`);
  return rows;
}

interface Writer extends AsyncDisposable {
  /** @returns rounds written. */
  stop(): Promise<number>;
}

function startWriter(stage: ProofStage): Writer {
  let isStopped = false;
  const run = async (): Promise<number> => {
    for (let round = 0; ; round++) {
      if (isStopped) return round;
      await execute(stage.sourceUrl, ...surrogateChanges(round));
    }
  };
  const running = run();
  running.catch(() => undefined); // thrown again by stop
  const stop = async (): Promise<number> => {
    isStopped = true;
    return await running;
  };
  return { stop, [Symbol.asyncDispose]: async () => void (await stop().catch(() => undefined)) };
}
