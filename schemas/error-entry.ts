/** An entry of the catalogue of error codes. Guarantee: whatever an error is, it says when it is tried again and what to do. */
export interface CatalogueEntry {
  readonly meaning: string;
  /** `timed`: tried again with back-off by itself; `operator`: after somebody acted; `never`: a new start is needed. */
  readonly retry: 'timed' | 'operator' | 'never';
  readonly remedy: string;
  /** Exit code of a command that ends with it (design §12). */
  readonly exit: 1 | 2 | 3 | 10 | 11;
}

export function entry(exit: CatalogueEntry['exit'], retry: CatalogueEntry['retry'], meaning: string, remedy: string): CatalogueEntry {
  return { meaning, retry, remedy, exit };
}
