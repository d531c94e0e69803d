/**
 * Keeps what is pushed as new as what is known. Guarantee: never waited for by whoever changes flags; tried again until it is there; pushed again now
 * and then, so that a Redis that lost its memory has the flags back within seconds.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { FlagPush } from '#connectors/flags/flags.ts';
import { messageOf } from '#schemas/errors.ts';
import { revisionOf } from '#schemas/flags/flag-document.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { FlagService } from './flag-service.ts';

const AGAIN_MS = 2_000;

export async function keepPushed(
  { flags, push, logger }: { readonly flags: FlagService; readonly push: FlagPush; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  let wake = new AbortController();
  const unlisten = flags.onChange(() => wake.abort());
  let told = '';
  const tell = (what: string, details: Readonly<Record<string, unknown>> = {}): void => {
    if (told !== what) logger.warn(details, what);
    told = what;
  };
  while (!signal.aborted) {
    wake = new AbortController();
    const { document } = flags;
    if (document !== undefined && !flags.isStale) {
      try {
        if (await push.push(document)) told = '';
        else
          tell('Redis holds newer flags than the target: of another publisher, or of an earlier migration of this name', {
            ours: revisionOf(document),
          });
      } catch (error) {
        tell('The flags cannot be pushed to Redis', { error: messageOf(error) });
      }
    }
    await delay(AGAIN_MS, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => undefined);
  }
  unlisten();
}
