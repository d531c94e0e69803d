/**
 * Who works on which partition numbers. Guarantee: with one member or more, each number is given to a member; while shares are made anew
 * a number may be held by two for a moment (or by a member that was stopped and does not know it), never for good by nobody.
 */
export interface WorkShare {
  /**
   * Joins. `onShare` is told the numbers held from then on, each time they change. Stays joined, across lost connections, until `leave`.
   * @throws PipelineError CF-3001 when Kafka cannot be reached, CF-3006 when it refuses us.
   */
  join(onShare: (numbers: readonly number[]) => void): Promise<void>;
  /** Others take over at once. */
  leave(): Promise<void>;
}
