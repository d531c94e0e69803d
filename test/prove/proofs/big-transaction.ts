/** One source transaction of millions of row changes, in bounded memory. */
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { UsageMeter } from '#test/bench/usage.ts';
import { execute, openSession } from '#test/support/application.ts';
import { openProofStage, type ProofStage, requireEqual, untilFollowing } from '../proof-stage.ts';
import type { Figures, Proof, ProofContext } from '../proof.ts';

const MEMORY_LIMIT_MB = 512;
const PATIENCE_MS = 900_000;

const SHAPES = `
create table big (id integer primary key, version integer not null, filler text not null);
create table small (id integer primary key, note text);`;

export const bigTransactionProof: Proof = {
  name: 'big-transaction',
  claim: `one transaction of 5,000,000 row changes passes, resident memory under ${MEMORY_LIMIT_MB} MB`,
  expectedSeconds: 240,
  run: runBigTransaction,
};

async function runBigTransaction({ size, say }: ProofContext): Promise<Figures> {
  // Two inserts and two updates for every delete: five changes for two rows.
  const rows = size === 'full' ? 2_000_000 : 60_000;
  const changes = rows * 2 + rows / 2;
  const settings = { max_wal_size: '8GB', shared_buffers: '256MB' };
  await using stage = await openProofStage({
    name: 'big',
    source: { settings },
    target: { settings },
    file: 'tables:\n  - from: public.big\n  - from: public.small',
    sourceSql: SHAPES,
    targetSql: SHAPES,
  });
  await using pipeline = Pipeline.start(stage.pipeline);
  await untilFollowing(pipeline);
  const meter = new UsageMeter([{ name: 'crossfade', kind: 'process', fresh: false, pid: () => pipeline.pid }]);
  await execute(
    stage.sourceUrl,
    `begin; insert into big select i, 0, 'filler ' || md5(i::text) from generate_series(1, ${rows}) i;
     update big set version = version + 1; delete from big where id % 2 = 0; insert into small values (1, 'inside'); commit`,
  );
  say(`committed on the source: ${changes.toLocaleString('en-US')} row changes in one transaction`);
  const committed = Date.now();
  await execute(stage.sourceUrl, `insert into small values (2, 'after')`);
  await untilArrived(stage, pipeline);
  const seconds = (Date.now() - committed) / 1000;
  const [usage] = meter.stop();
  const compared = await requireEqual(stage, [
    { source: 'big', target: 'big' },
    { source: 'small', target: 'small' },
  ]);
  await pipeline.stop();
  const peakMb = usage?.peakMemoryMb;
  if (peakMb !== undefined && peakMb >= MEMORY_LIMIT_MB) throw new Error(`resident memory reached ${peakMb.toFixed(0)} MB`);
  return {
    'row changes': changes + 1,
    'seconds to arrive': Math.round(seconds * 10) / 10,
    'changes per second': Math.round(changes / seconds),
    'peak resident MB': peakMb === undefined ? 'not measured on this platform' : Math.round(peakMb),
    'CPU seconds': usage?.cpuSeconds === undefined ? 'not measured on this platform' : Math.round(usage.cpuSeconds),
    'rows equal': compared,
  };
}

/** The big transaction must be seen whole: the row written inside it never without all the rest. */
async function untilArrived(stage: ProofStage, pipeline: Pipeline): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  await using target = await openSession(stage.targetUrl);
  while ((await target.query('select 1 from small where id = 2')).length === 0) {
    const [early] = await target.query(
      'select (select count(*) from small) as small, (select count(*) from (select 1 from big limit 1) x) as big',
    );
    if (early?.['small'] === '0' && early['big'] !== '0') throw new Error('a reader of the target saw half of the transaction');
    if (pipeline.result !== undefined || Date.now() > deadline) throw new Error(`the transaction did not arrive\n${pipeline.logTail()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
