/** The second mode: everything runs until Ctrl-C, to play with. Guarantee: a pipeline that somebody kills is started again. */
import { setTimeout as delay } from 'node:timers/promises';
import { Application } from './application/application.ts';
import type { DemoOptions } from './options.ts';
import { describeEnd, Pipeline } from './pipeline/pipeline.ts';
import { type DemoStage, loadShop, openStage } from './stage.ts';
import { number, type Story } from './story.ts';

const RESTART_AFTER_MS = 2_000;
/** So many failures in a row, none of them a kill, are not somebody playing. */
const FAILURES_MAX = 5;

export async function runPlay(options: DemoOptions, story: Story, signal: AbortSignal): Promise<void> {
  await using stage = await openStage(options);
  const rows = await loadShop(stage, options);
  story.tell(`${number(rows)} rows loaded (seed ${options.seed})`);
  const application = Application.start({
    url: stage.sourceUrl,
    seed: options.seed,
    size: options.size,
    writers: options.writers,
    transactionsPerSecond: options.transactionsPerSecond,
  });
  try {
    story.tell(commands(stage));
    await supervise(stage, story, signal);
  } finally {
    await application.stop();
    story.tell(`The shop closed after ${number(application.transactions)} transactions`);
  }
}

async function supervise(stage: DemoStage, story: Story, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted && failures < FAILURES_MAX;) {
    await using pipeline = Pipeline.start(stage.pipeline);
    story.tell(`crossfade up runs as process ${pipeline.pid}: kill -9 ${pipeline.pid} does no harm`);
    const stop = (): void => void pipeline.stop();
    signal.addEventListener('abort', stop, { once: true });
    const end = await pipeline.ended();
    signal.removeEventListener('abort', stop);
    if (signal.aborted) return;
    failures = end.signal === null ? failures + 1 : 0;
    story.tell(`crossfade up ended: ${describeEnd(end)}; it is started again${end.signal === null ? `\n${pipeline.logTail()}` : ''}`);
    await delay(RESTART_AFTER_MS, undefined, { signal }).catch(() => undefined);
  }
}

function commands(stage: DemoStage): string {
  const file = `-f ${stage.pipeline.file} --data ${stage.pipeline.dataDir}`;
  return [
    `legacy shop  ${stage.sourceUrl}`,
    `new shop     ${stage.targetUrl}`,
    `log          ${stage.pipeline.logFile}`,
    '',
    `npx crossfade status ${file}`,
    `npx crossfade verify ${file}`,
    `npx crossfade repair --table app.orders ${file}`,
    `psql ${stage.targetUrl} -c 'delete from app.rates'    (then verify, then repair)`,
    '',
    'Ctrl-C ends it all and leaves nothing behind',
  ].join('\n');
}
