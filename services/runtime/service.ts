/** The anatomy that every service shares. */
export interface Service {
  readonly id: string;
  /** Resolves when stopped or done; rejects with the error that ended it. */
  run(signal: AbortSignal): Promise<void>;
}

/** Structured log lines; never row values. */
export interface Logger {
  info(details: Readonly<Record<string, unknown>>, message: string): void;
  warn(details: Readonly<Record<string, unknown>>, message: string): void;
  error(details: Readonly<Record<string, unknown>>, message: string): void;
  debug(details: Readonly<Record<string, unknown>>, message: string): void;
}

export const silentLogger: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };
