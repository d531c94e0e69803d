/** Starts the application that writes both stores, and asks it one thing at a time. Guarantee: it ends with `await using`. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Reply, Request } from './dual-writing-application.ts';

const PROGRAM = join(import.meta.dirname, 'dual-writing-application.ts');

export interface DualApplication extends AsyncDisposable {
  ask(request: Request): Promise<Reply>;
}

export async function startDualApplication(at: {
  readonly source: string;
  readonly target: string;
  readonly url: string;
  readonly token: string;
}): Promise<DualApplication> {
  const child = fork(PROGRAM, [at.source, at.target, at.url, at.token], { execArgv: [] });
  const ended = once(child, 'exit');
  await once(child, 'message');
  return {
    ask: async (request) => {
      const answered = once(child, 'message');
      child.send(request);
      const gone = ended.then(() => {
        throw new Error('the application has ended');
      });
      gone.catch(() => undefined);
      const [reply] = (await Promise.race([answered, gone])) as [Reply];
      return reply;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
