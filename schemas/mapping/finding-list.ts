/** Collects what is wrong with a mapping, each with its place in the file. */
import { catalogue, type ErrorCode } from '../error-catalogue.ts';
import type { Finding } from '../errors.ts';

export interface FilePlace {
  readonly line?: number;
  readonly column?: number;
}

export class FindingList {
  readonly findings: Finding[] = [];
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  error(code: ErrorCode, message: string, place: FilePlace, remedy: string = catalogue[code].remedy): void {
    this.#add('error', { code, message, remedy }, place);
  }

  warning(code: ErrorCode, message: string, place: FilePlace, remedy: string = catalogue[code].remedy): void {
    this.#add('warning', { code, message, remedy }, place);
  }

  get errorCount(): number {
    return this.findings.filter((finding) => finding.severity === 'error').length;
  }

  #add(severity: Finding['severity'], what: Pick<Finding, 'code' | 'message' | 'remedy'>, { line, column }: FilePlace): void {
    this.findings.push({
      severity,
      ...what,
      path: this.#path,
      ...(line !== undefined && { line }),
      ...(column !== undefined && { column }),
    });
  }
}
