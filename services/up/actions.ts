/** What an operator tells a running instance. Guarantee: an action has taken effect, or is durable, when its promise resolves. */
import { setTimeout as delay } from 'node:timers/promises';
import { formatLsn } from '#schemas/lsn.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { PipelineError } from '#schemas/errors.ts';
import { listNames } from '#schemas/finding.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { ReverseActions } from './http/control-routes.ts';
import type { ControlActions } from './http/http-server.ts';
import type { Running } from './assemble.ts';

const POLL_MS = 50;

export function controlActions({ copier, reader, targets, monitors, mayCopy }: Running, signal: AbortSignal): ControlActions {
  return {
    recopy: async (request) => {
      // Its writers would be overtaken by what the source still has, and the way back takes our rows for its own.
      if (!(await mayCopy())) {
        throw new PipelineError('CF-8002', 'the other side serves: rows copied over its own would overwrite what is written there', {
          remedy: 'What differs, crossfade verify tells; crossfade repair copies from the side that serves.',
        });
      }
      const asked = await copier.checkRecopy(request);
      await copier.requestRecopy(asked);
      for (const { monitor } of monitors.values()) monitor.repairAsked(asked);
    },
    pause: () => copier.operator.pause(),
    resume: async () => {
      await copier.operator.resume();
      // What the reader stopped (its shape no longer fits) would not be copied again before a start with a file that fits.
      const stopped = new Set(
        copier
          .progress()
          .filter(({ state }) => state === 'held')
          .map((table) => tableId({ schema: table.schema, name: table.table })),
      );
      const held = targets.all.flatMap(({ sink }) =>
        sink.status().tables.flatMap(({ state, from }) => (state === 'held' && !stopped.has(tableId(from)) ? [{ sink, from }] : [])),
      );
      if (held.length === 0) return;
      // They would be emptied, or written over, where somebody writes them.
      if (!(await mayCopy())) throw notResumed(held.map(({ from }) => showTable(from)));
      for (const { sink, from } of held) await sink.resumeTable(from);
    },
    throttle: (request) => copier.operator.throttle(request),
    marker: async ({ waitMs, afterCopy, target }) => {
      const asked = targets.named(target);
      const startedAt = performance.now();
      const until = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, waitMs))]);
      const answer = (applied: boolean): { lsn: string; applied: boolean; seconds: number } => ({
        lsn: formatLsn(asked.appliedLsn() ?? reader.status().durableEnd),
        applied,
        seconds: (performance.now() - startedAt) / 1000,
      });
      try {
        if (afterCopy === true) await whenIdle(copier, until);
        const id = await reader.writeMarker();
        if (waitMs === 0) return answer(false);
        await asked.waitMarker(id, until);
        return answer(true);
      } catch (error) {
        if (signal.aborted) throw new PipelineError('CF-7001', 'the instance, or its way back, is stopping', { cause: error });
        if (!until.aborted) throw error;
        return answer(false);
      }
    },
  };
}

function notResumed(held: readonly string[]): PipelineError {
  return new PipelineError(
    'CF-8002',
    `still held, since the other side serves, and what is written there is not copied over: ${listNames(held, 5)}`,
    {
      remedy: 'Nothing needs it now. Run crossfade resume again when the other side does not serve any more.',
    },
  );
}

/** Tables that are held, whichever way. */
export function bothWays(actions: ControlActions, reverse: ReverseActions | undefined): ControlActions {
  if (reverse === undefined) return actions;
  return {
    ...actions,
    resume: async () => {
      await reverse.resume();
      await actions.resume();
    },
  };
}

/** Nothing is being copied: what a marker's commit shows from then on holds every row asked for before. */
async function whenIdle(copier: Running['copier'], signal: AbortSignal): Promise<void> {
  while (!copier.idle) await delay(POLL_MS, undefined, { signal });
}
