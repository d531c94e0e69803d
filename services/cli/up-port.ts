/** What `crossfade up` asks of the composition root (services/up/up.ts). */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { Logger } from '#services/runtime/service.ts';

export interface RunUpOptions {
  readonly file: MigrationFile;
  readonly dataDir: string;
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** The way back is begun anew where it lost its place while the target serves. */
  readonly reverseAnew?: boolean;
  /** Absent: until stopped. */
  readonly until?: 'caught-up';
  /** First SIGTERM or SIGINT: drain, then resolve. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Called about once a second. Must not throw. */
  readonly onProgress: (status: StatusResult) => void;
  /** A second when absent. */
  readonly progressEveryMs?: number;
  /** For a trigger that rolls back by itself: begins a rollback, or finds it begun. Absent: it is only told that one is due. */
  readonly startRollback?: (reason: string) => Promise<void>;
  /** A whole comparison while the target serves, recorded with the state. Undefined: it does not serve. Absent: none is made by itself. */
  readonly prove?: (signal: AbortSignal) => Promise<Pick<VerifyResult, 'differences' | 'inconclusive'> | undefined>;
}

export interface UpResult {
  readonly reason: 'stopped' | 'caught-up';
  readonly status: StatusResult;
}

/** Resolves when drained or caught up. @throws PipelineError for what ended it (CF-3004 and CF-7003: another instance runs). */
export type RunUp = (options: RunUpOptions) => Promise<UpResult>;
