/** Tries within a transaction. Guarantee: what an attempt did is undone when the target objects, and the session is usable again. */
import type { ApplierOptions } from './apply.ts';
import { isTransient, StatementError, type StatementResult, type Wire } from './wire.ts';

export async function run(options: ApplierOptions, write: () => void): Promise<readonly StatementResult[]> {
  options.wire.start();
  write();
  return options.wire.sync();
}

/** Runs `attempt` under a savepoint. @returns the error when the target objected (everything since is undone). */
export async function attempted(options: ApplierOptions, attempt: () => Promise<void>): Promise<StatementError | undefined> {
  const { wire } = options;
  await run(options, () => wire.execute('SAVEPOINT try'));
  try {
    await attempt();
    await run(options, () => {
      if (options.isEager?.() === true) {
        wire.execute('SET CONSTRAINTS ALL IMMEDIATE');
        wire.execute('SET CONSTRAINTS ALL DEFERRED');
      }
      wire.execute('RELEASE try');
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof StatementError) || error.lost || isTransient(error)) throw error;
    await run(options, () => undo(wire));
    return error;
  }
}

/** An attempt may be made within another one: its savepoint must not hide the outer one's. */
function undo(wire: Wire): void {
  wire.execute('ROLLBACK TO try');
  wire.execute('RELEASE try');
}

class Undo extends Error {}

/** What the target says of `attempt`; it is undone in any case. */
export async function probed(options: ApplierOptions, attempt: () => Promise<void>): Promise<StatementError | undefined> {
  try {
    return await attempted(options, async () => {
      await attempt();
      throw new Undo();
    });
  } catch (error) {
    if (!(error instanceof Undo)) throw error;
    await run(options, () => undo(options.wire));
    return undefined;
  }
}
