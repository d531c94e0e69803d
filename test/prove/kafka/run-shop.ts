/**
 * The demo's shop over Kafka, table by table: on PostgreSQL 14, open all the time, to a differently named and typed schema on 18.
 * Guarantee: it returns only when `crossfade verify`, asked of the services, found no difference, with nobody writing any more.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Application } from '#services/demo/application/application.ts';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { FULL_SHOP, loadSql, SMALL_SHOP } from '#services/demo/shop/load.ts';
import { execute, openSession } from '#test/support/application.ts';
import { type Random, seeded } from '#test/support/random.ts';
import { Fleet, nameOf } from './fleet.ts';
import { kafkaLines, type KafkaStage, openKafkaStage } from './kafka-stage.ts';

export interface ShopOptions {
  readonly size: 'small' | 'full';
  readonly seed: number;
  readonly kills: number;
  readonly say: (text: string) => void;
}

export interface ShopReport {
  readonly transactions: number;
  readonly rowsCompared: number;
  readonly kills: number;
}

const SHOP = join(import.meta.dirname, '..', '..', '..', 'services', 'demo', 'shop');
const PATIENCE_MS = 240_000;
const AFTER_MS = 4_000;

export async function runShop(options: ShopOptions): Promise<ShopReport> {
  const random = seeded(options.seed);
  const size = options.size === 'full' ? FULL_SHOP : SMALL_SHOP;
  await using stage = await openKafkaStage({
    name: 'shop',
    source: { version: 14 },
    file: 'tables: []',
    sourceSql: `set timezone = 'Europe/Berlin'; ${readFileSync(join(SHOP, 'legacy.sql'), 'utf8')}; ${loadSql(size, options.seed)}`,
    targetSql: readFileSync(join(SHOP, 'renamed.sql'), 'utf8'),
  });
  writeFileSync(stage.pipeline.file, migrationFile(stage));
  const application = Application.start({ url: stage.sourceUrl, seed: options.seed, size, writers: 4, transactionsPerSecond: 150 });
  await using fleet = new Fleet({
    file: stage.pipeline.file,
    directory: stage.directory,
    counts: { reader: 1, transformer: 2, sink: 2 },
  });
  try {
    fleet.startAll();
    await killSome(fleet, random, options);
    await untilFollowing(stage, fleet);
    await delay(AFTER_MS);
  } finally {
    await application.stop();
  }
  const verified = await runCommand<VerifyResult>(['verify'], { file: stage.pipeline.file, dataDir: join(stage.directory, 'command') });
  fleet.check();
  const result = verified.envelope?.result;
  if (verified.code !== 0 || result === undefined)
    throw new Error(`crossfade verify: ${explain(verified)}\n${JSON.stringify(result, undefined, 1)}\n${fleet.logTails()}`);
  const rowsCompared = result.tables.reduce((sum, table) => sum + table.rowsSource, 0);
  return { transactions: application.transactions, rowsCompared, kills: options.kills };
}

function migrationFile(stage: KafkaStage): string {
  const text = readFileSync(join(SHOP, 'renamed.yaml'), 'utf8');
  return `${text.replace('${SHOP_SOURCE}', stage.sourceUrl).replace('${SHOP_TARGET}', stage.targetUrl)}\n${kafkaLines(stage.kafka)}\n`;
}

async function killSome(fleet: Fleet, random: Random, { kills, say }: ShopOptions): Promise<void> {
  const members = fleet.members;
  for (let n = 0; n < kills; n++) {
    await delay(random.between(1_000, 4_000));
    const member = members[random.between(0, members.length - 1)]!;
    await fleet.kill(member);
    say(`${nameOf(member)} killed`);
  }
}

async function untilFollowing(stage: KafkaStage, fleet: Fleet): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  await using target = await openSession(stage.targetUrl);
  const sql = `select 1 from crossfade.progress where mode = 'consistent'`;
  while ((await target.query(sql).catch(() => [])).length === 0) {
    fleet.check();
    if (Date.now() > deadline) throw new Error(`not following within ${PATIENCE_MS / 1000} s\n${fleet.logTails()}`);
    await delay(50);
  }
  const [held] = await execute(
    stage.targetUrl,
    `select string_agg(source_table || ': ' || error, '; ') as why from crossfade.table_progress where state = 'held'`,
  );
  if (held?.['why']) throw new Error(`held: ${held['why']}`);
}
