/** The partitions of the mapped topics, by number. Guarantee: `next` is where reading stands; nothing below it is missing but what `reread` says. */
import { PipelineError } from '#schemas/errors.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { TopicPartition } from '../cluster.ts';

export interface MappedPlace extends TopicPartition {
  readonly number: number;
  next: Offset;
  /** The lowest record that was let go of and has to be read again. */
  reread: Offset | undefined;
  paused: boolean;
}

export class MappedPlaces {
  readonly all: readonly MappedPlace[];
  readonly #partitions: number;
  readonly #first = new Map<string, number>();

  constructor(topics: readonly string[], partitions: number, offsetOf: (topic: string, partition: number) => Offset) {
    this.#partitions = partitions;
    const all: MappedPlace[] = [];
    for (const topic of topics) {
      this.#first.set(topic, all.length);
      for (let partition = 0; partition < partitions; partition++)
        all.push({ topic, partition, number: all.length, next: offsetOf(topic, partition), reread: undefined, paused: false });
    }
    this.all = all;
  }

  /** Undefined of a topic whose table the file no longer maps. @throws PipelineError CF-3002 for a partition that there is not. */
  number(topic: string, partition: number): number | undefined {
    const first = this.#first.get(topic);
    if (first === undefined) return undefined;
    if (partition >= this.#partitions)
      throw new PipelineError('CF-3002', `a claim names partition ${partition} of topic ${topic}, which has ${this.#partitions}`);
    return first + partition;
  }

  at(topic: string, partition: number): MappedPlace | undefined {
    const first = this.#first.get(topic);
    return first === undefined ? undefined : this.all[first + partition];
  }
}
