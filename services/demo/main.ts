/**
 * `npm run demo`: a live shop is moved to a new database, killed twice on the way, proved equal, cut over, rolled back, cut over again and signed off.
 * Guarantee: exit code 0 only when everything held; no server, process or file is left behind.
 */
import { messageOf } from '#schemas/errors.ts';
import { type DemoSummary, runDemo } from './demo.ts';
import { readOptions, USAGE } from './options.ts';
import { runPlay } from './play.ts';
import { createStory, number, type Story } from './story.ts';

async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const options = readOptions(argv, Math.random);
  const story = createStory(options.json ? process.stderr : process.stdout, Date.now);
  story.begin(`Crossfade: a shop moves while it is open (seed ${options.seed})`);
  if (options.keep) {
    await runPlay(options, story, untilInterrupted());
    return 0;
  }
  const summary = await runDemo(options, story);
  finish(story, summary);
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  return summary.differences === 0 && summary.inconclusive === 0 ? 0 : 1;
}

function finish(story: Story, summary: DemoSummary): void {
  const { lag } = summary;
  story.tell(
    [
      `rows          ${number(summary.rowsCompared)} compared in ${summary.tables} tables; copied in ${summary.copySeconds.toFixed(1)} s, throttled and killed once`,
      `changes       ${number(summary.transactions)} transactions (${summary.transactionsPerSecond.toFixed(0)}/s), ${number(summary.changesApplied)} row changes applied`,
      `lag           p50 ${lag.p50Ms.toFixed(0)} ms, p99 ${lag.p99Ms.toFixed(0)} ms, max ${(lag.maxMs / 1000).toFixed(1)} s (the outage of the second kill), ${number(lag.probes)} probes`,
      `killed        ${summary.kills.join('; ')}`,
      `restarts      ${summary.restarts}`,
      `corrupted     ${summary.corrupted} rows of the target: named, repaired, verified`,
      `money         ${summary.money} in the accounts, on both sides`,
      `differences   ${summary.differences}`,
      `reads moved   ${summary.readsOnTarget.map((part) => `${(part * 100).toFixed(0)} %`).join(', then ')} answered by the new shop`,
      `write blocks  ${summary.flips.map(({ act, blockMs }) => `${act} ${blockMs} ms`).join(', ')}`,
      `writes        ${number(summary.writesAcknowledged)} acknowledged while it was flipped (${number(summary.writes.source)} by the old shop, ${number(summary.writes.target)} by the new one)`,
      `lost          ${summary.lost}`,
      `signed off    by ${summary.signedBy.join(' and ')}`,
    ].join('\n'),
  );
  story.end(`Done in ${summary.seconds.toFixed(0)} s. Run it again with --seed ${summary.seed}, or npm run demo -- --keep to play with it`);
}

/** The first Ctrl-C asks for an orderly end; a second one ends the process at once. */
function untilInterrupted(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(130);
      stop.abort();
    });
  }
  return stop.signal;
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`The demo failed: ${messageOf(error)}\n`);
  return 1;
});
