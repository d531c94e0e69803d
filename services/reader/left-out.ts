/**
 * Transactions that are read and not taken into the log. Guarantee: what the other direction's sink wrote is known as its before the first
 * row of it, on every server version alike: by the replication origin that pgoutput names behind Begin, or, where that sink's role may
 * not set one up, by the message that is such a transaction's first act. The server's own filter (`origin 'none'`, from 16 on) is not
 * used: it knows nothing of the second kind.
 */
import { decodeOriginMessage, originName } from '#schemas/frame/frame.ts';
import type { Lsn } from '#schemas/lsn.ts';
import { decodeOrigin, type LogicalMessage, type Relation } from '#schemas/pgoutput/message.ts';
import { guarded } from '#schemas/test-hooks.ts';

/** Migrations whose sinks write here. */
export class OriginScreen {
  readonly #names: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  constructor(names: readonly string[]) {
    this.#names = new Set(names);
    this.#origins = new Set(names.map(originName));
  }

  /** An Origin message. */
  leavesOutOrigin(message: Buffer): boolean {
    return this.#origins.size > 0 && this.#origins.has(decodeOrigin(message).name) && guarded('no-loops');
  }

  /** A message with our prefix, as the transaction's first act. */
  leavesOutMessage({ content }: LogicalMessage): boolean {
    if (this.#names.size === 0) return false;
    const name = decodeOriginMessage(content);
    return name !== undefined && this.#names.has(name) && guarded('no-loops');
  }
}

/** Whose the rows of a change are, before and after it. */
export type RowOwner = 'ours' | 'others' | 'unknown';
export type WhoseRows = (relation: Relation, message: Buffer) => RowOwner;

/** What of the stream is not for the log. */
export interface Leaving {
  /** Migrations whose sinks write here: their transactions are left out. */
  readonly ignoreOrigins?: readonly string[] | undefined;
  /** Absent: all that others write is taken. */
  readonly foreign?: ForeignWrites | undefined;
  /** Of tables of which only some rows are moved; absent: all are ours. */
  readonly whose?: WhoseRows | undefined;
}

/** How many changes of our rows a transaction had, by relation, that was left out. */
export interface LeftOut {
  readonly commitLsn: Lsn;
  /** By `schema.table` as the stream names it (a leaf by its own name). */
  readonly changes: ReadonlyMap<string, number>;
}

/**
 * Writes of others while the other side serves. What they write is not for the log as long as `areTaken` says so, at a moment that is later
 * than their commit.
 */
export interface ForeignWrites {
  /** As it was known last. */
  areTaken(): boolean;
  /** Asks anew. @throws PipelineError when nobody can tell */
  ask(): Promise<boolean>;
  /** Durable when it resolves; a transaction may come twice. */
  leftOut(transaction: LeftOut): Promise<void>;
}
