/**
 * Test hooks asked for by the environment. Guarantee: without the three variables nothing is installed. A failpoint ends this process
 * by SIGKILL, as a crash would, at the hit asked for.
 */
import { writeSync } from 'node:fs';
import { PipelineError } from '#schemas/errors.ts';
import { FAILPOINTS, GUARDS, installTestHooks, type Failpoint } from '#schemas/test-hooks.ts';
import { changesAstray } from './changes-astray.ts';

/** CROSSFADE_TEST_FAILPOINT=`name:count`, CROSSFADE_TEST_DISABLE=`guard,guard`, CROSSFADE_TEST_ASTRAY (changes-astray.ts). @throws PipelineError CF-1007 on an unknown name */
export function installTestHooksFrom(environment: Readonly<Record<string, string | undefined>>): void {
  const disabledGuards = (environment['CROSSFADE_TEST_DISABLE'] ?? '').split(',').filter((name) => name !== '');
  for (const name of disabledGuards) {
    if (!GUARDS.some((guard) => guard === name)) throw new PipelineError('CF-1007', `CROSSFADE_TEST_DISABLE names no guard: ${name}`);
  }
  const failpoint = environment['CROSSFADE_TEST_FAILPOINT'];
  const onFailpoint = failpoint === undefined || failpoint === '' ? undefined : strikeAt(failpoint);
  const strays = environment['CROSSFADE_TEST_ASTRAY'] ?? '';
  const astray = strays === '' ? undefined : changesAstray(strays);
  if (disabledGuards.length === 0 && !onFailpoint && !astray) return;
  installTestHooks({ disabledGuards, ...(onFailpoint && { onFailpoint }), ...(astray && { astray }) });
}

function strikeAt(text: string): (point: Failpoint) => void {
  const [name, count = '1'] = text.split(':');
  if (!FAILPOINTS.some((point) => point === name))
    throw new PipelineError('CF-1007', `CROSSFADE_TEST_FAILPOINT names no failpoint: ${text}`);
  let left = Number(count);
  return (point) => {
    if (point !== name || --left !== 0) return;
    writeSync(2, `crossfade: failpoint ${text} reached, killing this process\n`);
    process.kill(process.pid, 'SIGKILL');
    // The signal takes this thread down before the next statement of ours can matter; the loop makes that certain.
    for (;;);
  };
}
