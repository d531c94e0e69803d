/** Status of a running instance, of one target or of several. Guarantee: for one it is what it would be if there were no others. */
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { mergeTargets } from '#schemas/status/merge-targets.ts';
import { messageOf } from '#schemas/errors.ts';
import type { MirrorBoard } from '#services/reconciler/stream/mirror-board.ts';
import { lastDrift } from '#services/runtime/last-verify.ts';
import type { Running } from './assemble.ts';
import { instanceStatus } from './instance-status.ts';

export function targetsStatus(
  name: string,
  { targets, reader, copier, monitors, boards }: Pick<Running, 'targets' | 'reader' | 'copier' | 'monitors' | 'boards'>,
  dataDir: string,
): StatusResult {
  const views = targets.all.map((side) => ({
    side,
    status: instanceStatus({
      name,
      mapping: side.migration.mapping,
      reader,
      copier,
      sink: side.sink,
      drift: () => lastDrift(dataDir, side.name),
      reconciliation: compared(monitors.get(side)?.monitor.status(), boards.get(side)),
      plan: side.plan(),
    }),
  }));
  const [only] = views;
  if (views.length === 1 && only?.side.name === undefined) return only!.status;
  return mergeTargets(
    views.map(({ side, status }) => {
      const sink = side.sink.status();
      const error = side.failure() === undefined ? sink.error : messageOf(side.failure());
      return {
        name: side.name!,
        kind: side.file.target.redis === undefined ? 'postgres' : 'redis',
        connected: sink.connected,
        status,
        ...(error !== undefined && { error }),
        ...(side.isAway() && { isUnknown: true as const }),
      };
    }),
  );
}

function compared(status: ReconciliationStatus | undefined, board: MirrorBoard | undefined): ReconciliationStatus | undefined {
  return status === undefined || board === undefined || status.silent === true ? status : { ...status, stream: board.status() };
}
