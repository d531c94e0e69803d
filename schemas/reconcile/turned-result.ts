/**
 * A comparison of the way back, told in the words of the migration. Guarantee: `from` and `rowsSource` are the migration's source whichever way was
 * compared; turning twice gives what was there before. Missing and extra stay as they are: of the side that does not serve, in its names.
 */
import type { TableVerdict, VerifyResult } from './verify-result.ts';

export function turned(result: VerifyResult): VerifyResult {
  return { ...result, tables: result.tables.map(turnedTable) };
}

function turnedTable({ from, to, rowsSource, rowsTarget, ...verdict }: TableVerdict): TableVerdict {
  return { ...verdict, from: to, to: from, rowsSource: rowsTarget, rowsTarget: rowsSource };
}
