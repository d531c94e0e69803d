/** The writers of the kill tests. Guarantee: `stop` returns only when every writer has ended, without an error. */
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';

export interface Load extends AsyncDisposable {
  /** Ends the writers; @returns the op id of one last journal row. */
  stop(): Promise<string>;
}

export async function startLoad(stage: { readonly sourceUrl: string }, writers: number, seed: () => number): Promise<Load> {
  const sessions: ApplicationSession[] = [];
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < writers; i++) {
    const session = await openSession(stage.sourceUrl);
    sessions.push(session);
    const call = session.query(`call load(${seed()})`);
    call.catch(() => undefined); // thrown again by stop
    calls.push(call);
  }
  return {
    stop: async () => {
      await execute(stage.sourceUrl, 'update control set stop = true');
      await Promise.all(calls);
      const [row] = await execute(stage.sourceUrl, `insert into journal values (nextval('op'), 0) returning op`);
      return row?.['op'] ?? '';
    },
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) await session[Symbol.asyncDispose]();
    },
  };
}
