/**
 * The shop's application by itself, for a shop that runs elsewhere (docker-compose.yml, profile load). Guarantee: it writes at the rate
 * asked for until SIGTERM or SIGINT, which let every writer end its transaction; an error of the database ends it with exit code 1.
 */
import { once } from 'node:events';
import { messageOf } from '#schemas/errors.ts';
import { Application } from './application/application.ts';
import { FULL_SHOP } from './shop/load.ts';

const WRITERS = 4;
const TRANSACTIONS_PER_SECOND = 100;
const REPORT_INTERVAL_MS = 10_000;

async function main({ SHOP_URL: url, SHOP_TRANSACTIONS_PER_SECOND: rate }: NodeJS.ProcessEnv): Promise<void> {
  if (url === undefined || url === '') throw new Error('SHOP_URL is not set: the address of the legacy shop’s database');
  const transactionsPerSecond = Number(rate ?? TRANSACTIONS_PER_SECOND);
  if (!(transactionsPerSecond > 0)) throw new Error('SHOP_TRANSACTIONS_PER_SECOND is not a rate');
  const seed = Math.floor(Math.random() * 1_000_000);
  const application = Application.start({ url, seed, size: FULL_SHOP, writers: WRITERS, transactionsPerSecond });
  process.stdout.write(`the shop is open: about ${transactionsPerSecond} transactions a second (seed ${seed})\n`);
  const report = setInterval(() => process.stdout.write(`${application.transactions} transactions\n`), REPORT_INTERVAL_MS);
  try {
    await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT'), application.ended]);
  } finally {
    clearInterval(report);
    await application.stop();
  }
  process.stdout.write(`the shop closed after ${application.transactions} transactions\n`);
}

process.exitCode = await main(process.env).then(
  () => 0,
  (error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    return 1;
  },
);
