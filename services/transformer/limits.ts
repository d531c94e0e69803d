/** How much at a time. Guarantee: what is fetched and mapped ahead of the broker's acknowledgements is bounded by these. */
export interface MappingLimits {
  /** Records mapped between two looks at the event loop. */
  readonly sliceRecords: number;
  /** Of one partition in one produce: a broker takes a batch of 1 MiB unless told otherwise. */
  readonly batchBytes: number;
  /** Of one produce. */
  readonly groupBytes: number;
  /** Mapped and not yet acknowledged; above that nothing is fetched. */
  readonly heldBytes: number;
  /** A transformer's claim in so many repeats all that it knows. */
  readonly wholeClaimEvery: number;
  /** So many records from the end such a claim is looked for first. */
  readonly firstLookRecords: number;
}

export const LIMITS: MappingLimits = {
  sliceRecords: 200,
  batchBytes: 700 * 1024,
  groupBytes: 1024 * 1024,
  heldBytes: 4 * 1024 * 1024,
  wholeClaimEvery: 1_000,
  firstLookRecords: 4_000,
};
