/**
 * `repair`: differing rows go through the pipeline again. Guarantee: nothing is written to the target here; the running instance
 * copies the rows between watermarks, in stream order, so no newer change is ever overwritten, and what it did is verified afterwards.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import type { Logger } from '#services/runtime/service.ts';

/** What repair needs of a running instance. */
export interface RepairInstance {
  /** Resolves once the request cannot be lost. */
  recopy(request: RecopyRequest): Promise<void>;
  /** Writes a marker once every re-copy asked for stands in the log, and tells whether it was applied within the time. */
  marker(request: { readonly waitMs: number; readonly afterCopy: true }): Promise<{ readonly applied: boolean }>;
}

export interface RepairOptions {
  readonly requests: readonly RecopyRequest[];
  readonly instance: RepairInstance;
  readonly verify: (tables: (table: TableMapping) => boolean) => Promise<VerifyResult>;
  readonly logger: Logger;
  /** Longest time for the re-copy to be applied; ten minutes when absent, the most that one marker waits. */
  readonly waitMs?: number;
}

export interface RepairResult {
  readonly requests: readonly RecopyRequest[];
  /** The tables copied again, compared once more. */
  readonly verified: VerifyResult;
}

const WAIT_MS = 600_000;

/** @throws PipelineError CF-6003 when the re-copy was not applied in time; it goes on by itself. */
export async function repairMigration(options: RepairOptions): Promise<RepairResult> {
  const { requests, instance, verify, logger } = options;
  for (const request of requests) {
    await instance.recopy(request);
    logger.info({ table: `${request.schema}.${request.table}`, kind: request.kind }, 'asked for a re-copy');
  }
  if (requests.length > 0) {
    const { applied } = await instance.marker({ waitMs: options.waitMs ?? WAIT_MS, afterCopy: true });
    if (!applied) throw new PipelineError('CF-6003', 'the rows asked for are not applied yet; the re-copy goes on');
  }
  const tables = new Set(requests.map((request) => `${request.schema}\u0001${request.table}`));
  return { requests, verified: await verify(({ from }) => tables.has(`${from.schema}\u0001${from.name}`)) };
}
