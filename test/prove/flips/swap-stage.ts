/** Two sets of tables in one database whose names a flip exchanges, and an application that knows nothing but the names. */
import { join } from 'node:path';
import { BUSY_LIMITS } from '#test/support/flip-stage.ts';
import { SWAPPED_DDL } from '#test/support/swapped-application.ts';
import { missingTokens, startSwapped } from '#test/support/swapping.ts';
import { openProofStage } from '../proof-stage.ts';
import { type KillStage, refuses, startRestartable } from './flip-stage.ts';

const FILE = `tables:
  - { from: public.customer, to: public.customer_new }
  - { from: public.orders, to: public.orders_new }
cutover: { strategy: rename-swap, ${BUSY_LIMITS} }
`;
const RATE = 50;

export async function openSwapStage(name: string): Promise<KillStage> {
  await using stack = new AsyncDisposableStack();
  const stage = stack.use(await openProofStage({ name, file: FILE, oneDatabase: true, sourceSql: SWAPPED_DDL, targetSql: '' }));
  const url = stage.sourceUrl;
  const instance = stack.use(await startRestartable(stage));
  const application = stack.use(startSwapped(url, join(stage.directory, 'journal'), RATE));
  const kept = stack.move();
  return {
    name,
    stage,
    gatesWait: true,
    startInstance: async () => instance.startAgain(),
    killInstance: async () => instance.kill(),
    refuses: async (side, serves) =>
      refuses(url, side === serves ? 'public.orders' : serves === 'target' ? 'public_old.orders' : 'public.orders_new'),
    end: async () => {
      await application.more(RATE);
      const lines = await application.stop();
      const failed = lines.filter(({ kind }) => kind.startsWith('failed'));
      if (failed.length > 0) throw new Error(`${failed.length} reads or writes failed: ${JSON.stringify(failed.slice(0, 5))}`);
      const lost = await missingTokens(url, 'public.orders', lines);
      if (lost.length > 0)
        throw new Error(`${lost.length} acknowledged writes are not in the table that serves: ${lost.slice(0, 10).join(', ')}`);
      return lines.filter(({ kind }) => kind === 'write').length;
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}
