/** What a re-copy asks for. Guarantee: durable in the progress topic before the slot passes its cause; names and values are the source's. */
export type RecopyRequest =
  | { readonly kind: 'table'; readonly schema: string; readonly table: string; readonly reason: string }
  /** The target's table is emptied first: deletes were missed too. */
  | { readonly kind: 'replace'; readonly schema: string; readonly table: string; readonly reason: string }
  | {
      readonly kind: 'range';
      readonly schema: string;
      readonly table: string;
      readonly from?: string;
      readonly to?: string;
      readonly reason: string;
    }
  | {
      readonly kind: 'keys';
      readonly schema: string;
      readonly table: string;
      /** Values of the source key, each in the order of the key's columns. */
      readonly keys: readonly (readonly string[])[];
      readonly reason: string;
    };
