/**
 * Three rows of the new shop are changed behind the pipeline's back, while the shop is open. Guarantee: goes on only when the running instance
 * has named all three by itself, and found each of them equal again after `crossfade repair`; anything else throws.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { explain, runCommand } from './pipeline/command.ts';
import type { Pipeline } from './pipeline/pipeline.ts';
import { type DemoStage, execute } from './stage.ts';

export interface Corrupted {
  /** As `crossfade status` tells them. */
  readonly named: readonly string[];
  readonly foundSeconds: number;
  readonly repairedSeconds: number;
}

const PATIENCE_MS = 90_000;
const POLL_MS = 200;

/** Of rows that the shop itself leaves alone: what it changes again would be put right by the stream. */
const CORRUPTIONS = [
  `update app.payments set amount = amount + 0.01 where id = (select max(id) from app.payments where id > 1000)`,
  `delete from app.pings where id = (select min(id) from app.pings)`,
  `insert into app.order_lines (order_id, line, category, quantity, price)
   select order_id, 999, category, 1, 0 from app.order_lines order by order_id limit 1`,
];

export async function corruptRows(stage: DemoStage): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  for (const sql of CORRUPTIONS) {
    // The payment is one that the shop took since it is watched.
    while ((await execute(stage.targetUrl, `${sql} returning 1`)).length === 0) {
      if (Date.now() > deadline) throw new Error('the shop has no row to be changed behind its back');
      await delay(POLL_MS);
    }
  }
}

interface Reconciliation {
  readonly suspected: number;
  readonly confirmed: number;
  readonly repairing: number;
}

/** Named by the running instance, repaired, and found equal by it. */
export async function findAndRepair(stage: DemoStage, pipeline: Pipeline, update: (text: string) => void): Promise<Corrupted> {
  const began = Date.now();
  await waitFor(pipeline, (now) => now.confirmed >= CORRUPTIONS.length, 'confirmed');
  const foundSeconds = (Date.now() - began) / 1000;
  const told = await runCommand(['status'], stage.pipeline);
  const named = (told.envelope?.findings ?? []).filter(({ code }) => code === 'CF-6001').map(({ message }) => message);
  if (named.length !== CORRUPTIONS.length) throw new Error(`three rows differ, and these were named: ${named.join('; ') || explain(told)}`);
  update('crossfade repair');
  const repairBegan = Date.now();
  const repaired = await runCommand(['repair'], stage.pipeline);
  if (repaired.code !== 0) throw new Error(`crossfade repair: ${explain(repaired)}`);
  await waitFor(pipeline, (now) => now.suspected + now.confirmed + now.repairing === 0, 'verified');
  const states = await execute(stage.targetUrl, 'select distinct state from crossfade.finding');
  if (states.length !== 1 || states[0]!['state'] !== 'verified') throw new Error(`not all were verified: ${JSON.stringify(states)}`);
  return { named, foundSeconds, repairedSeconds: (Date.now() - repairBegan) / 1000 };
}

async function waitFor(pipeline: Pipeline, done: (now: Reconciliation) => boolean, what: string): Promise<void> {
  const isDone = (status: object): boolean => {
    const { reconciliation } = status as { readonly reconciliation?: Reconciliation };
    return reconciliation !== undefined && done(reconciliation);
  };
  await pipeline.waitFor(isDone, { what: `through with the changed rows: not all ${what}`, timeoutMs: PATIENCE_MS });
}
