/** What the service commands ask of their composition root (services/up/kafka). */
import type { KafkaSettings, MigrationFile } from '#schemas/config/migration-file.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { Logger } from '#services/runtime/service.ts';

export interface RunServiceOptions {
  readonly file: MigrationFile;
  readonly kafka: KafkaSettings;
  readonly dataDir: string;
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** First SIGTERM or SIGINT: drain, then resolve. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Called about once a second by the reader and the sink. Must not throw. */
  readonly onProgress: (status: StatusResult) => void;
}

export interface RunReconcilerOptions extends RunServiceOptions {
  readonly intervalMs: number;
}

/** Resolves when drained. @throws PipelineError for what ended it */
export type RunService<O extends RunServiceOptions = RunServiceOptions> = (options: O) => Promise<void>;
