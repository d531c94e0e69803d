/** Commands of a runbook. Guarantee: each names the file, target and wave that it is of, so that it can be typed as it stands. */
import type { Runbook } from './runbook.ts';

/** `crossfade verify -f shop.yaml --target a`. */
export function commandOf({ isDefaultFile, file, target, wave }: Runbook): (command: string, ...rest: readonly string[]) => string {
  const shown = /^[\w./-]+$/.test(file) ? file : `'${file.replaceAll("'", String.raw`'\''`)}'`;
  const ownFile = [...(isDefaultFile ? [] : ['-f', shown]), ...(wave === undefined ? [] : ['--wave', wave])];
  return (command, ...rest) => {
    const ownTarget = target === undefined || OF_ALL_TARGETS.has(command) ? [] : ['--target', target];
    return ['crossfade', command, ...ownFile, ...ownTarget, ...rest].join(' ');
  };
}

/** Commands that take no `--target`. */
const OF_ALL_TARGETS: ReadonlySet<string> = new Set(
  'check up reader transformer sink reconciler control status throttle resume cleanup'.split(' '),
);

export function signing(
  runbook: Runbook,
  subjects: (subject: { readonly subject: string; readonly isItem: boolean }) => boolean,
): string[] {
  const command = commandOf(runbook);
  return runbook.approvals
    .filter(({ required }) => subjects(required))
    .flatMap(({ required: { subject, of }, missing, from }) =>
      missing === 0
        ? []
        : (from ?? of ?? ['NAME'])
            .slice(0, of === undefined ? 1 : undefined)
            .map((person) => command('approve', subject, '--as', `"${person}"`)),
    );
}
