/** One comparison of one table, for the history. */
export interface ComparisonRecord {
  readonly from: string;
  readonly to: string;
  readonly lsn: string | null;
  /** Rows compared, and of the table's parts how many of how many. */
  readonly rows: number;
  readonly parts: number;
  readonly partsOf: number;
  readonly verdict: 'equal' | 'differs' | 'inconclusive';
  readonly differences: number;
  readonly cause: string | null;
  readonly seconds: number;
}
