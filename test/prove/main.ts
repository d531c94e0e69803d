/**
 * `npm run prove`: every claim at its full figure, one after the other. Guarantee: finished proofs are not repeated on the same sources
 * (unless --again), each prints its figures, and the exit code is 0 only when none failed.
 */
import { writeFileSync } from 'node:fs';
import { type Outcome, OutcomeStore } from './outcome.ts';
import { type ProveOptions, readOptions, USAGE } from './options.ts';
import { type Figures, type Proof, Skipped } from './proof.ts';
import { PROOFS } from './proofs/all.ts';

/** A budget is an estimate against estimates: leave this much of it unused. */
const BUDGET_MARGIN = 1.2;

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) return print(USAGE);
  const options = readOptions(argv);
  const unknown = options.only.filter((name) => !PROOFS.some((proof) => proof.name === name));
  if (unknown.length > 0) {
    console.error(`no proof named ${unknown.join(', ')}; --list shows them`);
    return 2;
  }
  const chosen = options.only.length === 0 ? PROOFS : PROOFS.filter((proof) => options.only.includes(proof.name));
  if (options.list)
    return print(
      chosen.map((proof) => `${proof.name.padEnd(28)} ~${String(proof.expectedSeconds).padStart(4)} s  ${proof.claim}`).join('\n'),
    );
  const outcomes = await runAll(chosen, options);
  const count = (state: Outcome['state']): number => outcomes.filter((outcome) => outcome.state === state).length;
  const [passed, failed, skipped] = [count('passed'), count('failed'), count('skipped')];
  if (options.jsonFile !== undefined)
    writeFileSync(options.jsonFile, `${JSON.stringify({ passed, failed, skipped, outcomes }, undefined, 2)}\n`);
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed === 0 ? 0 : 1;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

async function runAll(proofs: readonly Proof[], options: ProveOptions): Promise<readonly Outcome[]> {
  const store = new OutcomeStore(options.stateDir);
  const began = Date.now();
  const outcomes: Outcome[] = [];
  const leftOut: string[] = [];
  for (const proof of proofs) {
    const before = options.again ? undefined : store.passed(proof.name, options.size);
    if (before !== undefined) {
      report(before, ' (before, on the same sources)');
      outcomes.push(before);
      continue;
    }
    const leftSeconds = options.budgetSeconds - (Date.now() - began) / 1000;
    const isAside = proof.needsQuiet === true && Number.isFinite(options.budgetSeconds);
    if (isAside || proof.expectedSeconds * (options.size === 'full' ? BUDGET_MARGIN : 0.2) > leftSeconds) {
      leftOut.push(proof.name);
      continue;
    }
    const outcome = await runOne(proof, options, store);
    report(outcome, '');
    store.keep(outcome);
    outcomes.push(outcome);
  }
  // What was never begun is neither a result nor a skip.
  if (leftOut.length > 0) console.log(`– not begun, for want of time or of a quiet machine (--only NAME): ${leftOut.join(', ')}`);
  return outcomes;
}

async function runOne(proof: Proof, options: ProveOptions, store: OutcomeStore): Promise<Outcome> {
  const seed = options.seed ?? Math.floor(Math.random() * 1_000_000);
  console.log(`▸ ${proof.name}: ${proof.claim} (seed ${seed})`);
  const began = Date.now();
  const base = { name: proof.name, size: options.size, seed, sources: store.sources };
  const finish = (rest: Pick<Outcome, 'state' | 'figures' | 'reason'>): Outcome => ({
    ...base,
    ...rest,
    seconds: (Date.now() - began) / 1000,
    at: new Date().toISOString(),
  });
  try {
    const figures = await proof.run({ size: options.size, seed, say: (text) => console.log(`  ${text}`) });
    return finish({ state: 'passed', figures });
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (error instanceof Skipped) return finish({ state: 'skipped', figures: {}, reason: error.message });
    return finish({ state: 'failed', figures: figuresOf(error), reason });
  }
}

/** A failed proof may still carry what it measured. */
function figuresOf(error: unknown): Figures {
  return error instanceof Error && 'figures' in error ? (error.figures as Figures) : {};
}

function report(outcome: Outcome, note: string): void {
  const mark = { passed: '✓', failed: '✗', skipped: '–' }[outcome.state];
  console.log(`${mark} ${outcome.name} ${outcome.state} in ${outcome.seconds.toFixed(1)} s, seed ${outcome.seed}${note}`);
  for (const [name, value] of Object.entries(outcome.figures))
    console.log(`    ${name}: ${typeof value === 'number' ? value.toLocaleString('en-US') : value}`);
  if (outcome.reason !== undefined) console.log(`    ${outcome.reason.replaceAll('\n', '\n    ')}`);
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return 1;
});
