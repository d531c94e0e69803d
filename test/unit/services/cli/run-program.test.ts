/** A program that is waited for ends in time, with what it has started. */
import { expect, test } from 'vitest';
import { runProgram } from '#services/cli/backup/run-program.ts';

const sh = async (script: string, timeoutMs = 30_000, signal = new AbortController().signal): ReturnType<typeof runProgram> =>
  runProgram(['/bin/sh', '-c', script], { environment: { PATH: process.env['PATH'], WORD: 'there' }, timeoutMs, signal });

test('exit 0 is a yes, with what it printed; anything else a no, with what it said', async () => {
  expect(await sh('echo "$WORD"; echo aside >&2')).toMatchObject({ ok: true, printed: 'there\n', said: 'exit 0: aside' });
  expect(await sh('echo broken >&2; exit 3')).toMatchObject({ ok: false, said: 'exit 3: broken' });
  expect(await runProgram(['/no/such/program'], { environment: {}, timeoutMs: 1_000, signal: new AbortController().signal })).toMatchObject(
    {
      ok: false,
      said: expect.stringContaining('cannot be run') as string,
    },
  );
});

test('what takes too long, or is stopped, ends with all that it has started', async () => {
  // Its child holds the output open: that it ends at all says that both are gone.
  expect(await sh('sleep 600 & wait', 300)).toMatchObject({ ok: false, said: 'ended after 300 ms' });
  expect(await sh('sleep 600', 30_000, AbortSignal.abort())).toMatchObject({ ok: false, said: 'stopped' });
});
