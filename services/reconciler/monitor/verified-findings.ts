/**
 * The life of differences where whole comparisons follow one another and repairs are asked for elsewhere. Guarantee: it lies in the target's tables, so
 * comparers may be many and may be killed; what cannot be read or written down there changes no verdict, and is logged.
 */
import { messageOf } from '#schemas/errors.ts';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import type { ComparisonRecord } from '#schemas/reconcile/comparison-record.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { Logger } from '#services/runtime/service.ts';
import { isAskedIn } from './asked-in-trail.ts';
import { FindingBook } from './finding-book.ts';
import { recordOf } from './record-of.ts';

export interface FindingsStore {
  /** Findings that are open. */
  open(): Promise<readonly DriftFinding[]>;
  trail(): Promise<readonly AuditRecord[]>;
  save(findings: readonly DriftFinding[], comparisons: readonly ComparisonRecord[]): Promise<void>;
}

const UNSAVED_MAX = 10_000;

export class VerifiedFindings {
  readonly #store: FindingsStore;
  readonly #logger: Logger;
  #book = new FindingBook();
  #unsaved: readonly DriftFinding[] = [];

  constructor(store: FindingsStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  get open(): readonly DriftFinding[] {
    return this.#book.open;
  }

  /** Makes a comparison of all tables, and writes down what it changes; of none, nothing. @throws what `compare` does */
  async during<T extends VerifyResult | undefined>(compare: () => Promise<T>): Promise<T> {
    const beganMs = Date.now();
    const asked = await this.#read(beganMs);
    const result = await compare();
    if (result === undefined) return result;
    const atMs = Date.now();
    const changed = result.tables.flatMap((verdict) => this.#book.compared({ verdict, beganMs, atMs }));
    for (const { to, kind, state, columns, rows } of changed)
      this.#logger.info({ table: to, kind, columns, rows, state }, 'a difference between source and target');
    const seconds = (atMs - beganMs) / 1000;
    const comparisons = result.tables.map((verdict) => ({ ...recordOf(verdict, seconds), parts: 1, partsOf: 1 }));
    await this.#save([...asked, ...changed], comparisons);
    return result;
  }

  /** As others have left it; what was asked for before this comparison, it is to see. @returns the findings that wait for it */
  async #read(beganMs: number): Promise<readonly DriftFinding[]> {
    try {
      // What could not be written down is known here only.
      if (this.#unsaved.length === 0) this.#book = new FindingBook(await this.#store.open());
      const trail = await this.#store.trail();
      const isAsked = (finding: DriftFinding): boolean => finding.state !== 'repairing' && isAskedIn(trail, finding);
      return this.#book.repairing(isAsked, { atMs: beganMs - 1, lsn: null });
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'what was found and repaired before cannot be read');
      return [];
    }
  }

  async #save(changed: readonly DriftFinding[], comparisons: readonly ComparisonRecord[]): Promise<void> {
    const findings = [...this.#unsaved, ...changed];
    try {
      await this.#store.save(findings, comparisons);
      this.#unsaved = [];
    } catch (error) {
      this.#unsaved = findings.slice(-UNSAVED_MAX);
      this.#logger.warn({ error: messageOf(error) }, 'what was found could not be written down');
    }
  }
}
