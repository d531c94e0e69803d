/** A table as verdicts and findings name it. */
export function tableName({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${schema}.${name}`;
}
