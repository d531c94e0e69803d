/**
 * The life of differences where whole comparisons follow one another and repairs are asked for elsewhere. Guarantee: it lies in the target's tables, so
 * comparers may be many and may be killed; what cannot be read or written down there changes no verdict, and is logged; no difference ends before the
 * trail was read for who asked for it.
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
  /** The trail's last record that was looked at. */
  #lastSeq: number | undefined;
  /** Findings of other comparers, which were not known here when it was. */
  readonly #others = new Set<string>();

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
    // What was asked for before this comparison, it is to see.
    const before = await this.#read(async () => {
      // What could not be written down is known here only.
      if (this.#unsaved.length === 0) this.#opened(await this.#store.open());
      return this.#asked(beganMs - 1);
    });
    const result = await compare();
    if (result === undefined) return result;
    const atMs = Date.now();
    // What was asked for meanwhile it may have seen, or not: the next one tells.
    const meanwhile = await this.#read(async () => this.#asked(atMs));
    const ends = meanwhile === undefined ? { covers: (): boolean => false } : {};
    const changed = result.tables.flatMap((verdict) => this.#book.compared({ verdict, beganMs, atMs, ...ends }));
    for (const { to, kind, state, columns, rows } of changed)
      this.#logger.info({ table: to, kind, columns, rows, state }, 'a difference between source and target');
    const seconds = (atMs - beganMs) / 1000;
    const comparisons = result.tables.map((verdict) => ({ ...recordOf(verdict, seconds), parts: 1, partsOf: 1 }));
    await this.#save([...(before ?? []), ...(meanwhile ?? []), ...changed], comparisons);
    return result;
  }

  #opened(findings: readonly DriftFinding[]): void {
    const known = new Set(this.#book.open.map(idOf));
    for (const id of findings.map(idOf)) if (!known.has(id)) this.#others.add(id);
    this.#book = new FindingBook(findings);
  }

  /** @returns the findings that a repair was asked for since the trail was last read, which wait for it from now on */
  async #asked(atMs: number): Promise<readonly DriftFinding[]> {
    const trail = await this.#store.trail();
    const lastSeq = this.#lastSeq;
    // The target's clock, which the records have, and this one's are two: only what another process may have seen is told by time.
    const isNew = (finding: DriftFinding, { seq, at }: AuditRecord): boolean =>
      lastSeq === undefined || this.#others.has(idOf(finding)) ? Date.parse(at) > finding.steps.at(-1)!.atMs : seq > lastSeq;
    const isAsked = (finding: DriftFinding): boolean =>
      finding.state !== 'repairing' && trail.some((record) => isNew(finding, record) && isAskedIn(record, finding));
    const asked = this.#book.repairing(isAsked, { atMs, lsn: null });
    this.#lastSeq = trail.at(-1)?.seq ?? 0;
    this.#others.clear();
    return asked;
  }

  /** Undefined: it cannot be read. */
  async #read(read: () => Promise<readonly DriftFinding[]>): Promise<readonly DriftFinding[] | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#logger.warn({ error: messageOf(error) }, 'what was found and repaired before cannot be read');
      return undefined;
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

/** A row that differs again later is another finding. */
function idOf({ id, steps }: DriftFinding): string {
  return JSON.stringify([id, steps[0]!.atMs]);
}
