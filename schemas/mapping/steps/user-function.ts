/** What the mapping knows of a function of the user's. Guarantee: types only, and the one error by which a call refuses its row. */

/** Columns under their names: whole numbers as bigint, true and false as such, every other type as PostgreSQL's text. */
export type FunctionRow = Readonly<Record<string, string | bigint | boolean | null>>;

/** A function that stands beside the migration file; where it runs is not the mapping's business. */
export interface UserFunction {
  /** Of the file's text: another text is another mapping. */
  readonly digest: string;
  /** What it gave back. @throws UserFunctionFailure */
  call(row: FunctionRow): unknown;
}

/** Why there is no answer; holds no value of the row. */
export class UserFunctionFailure extends Error {
  override readonly name = 'UserFunctionFailure';
}

/** By what stands in the file: `./flags.ts#bits`. */
export type UserFunctions = ReadonlyMap<string, UserFunction>;
