/**
 * Positions of the port's groups, kept as offsets of Kafka consumer groups without members. Guarantee: a committed position is stored
 * by the group's coordinator when `commit` resolves, and never moves back within this process. Kafka forgets the positions of a group
 * without members after offsets.retention.minutes (7 days by default).
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Offset } from '../change-log.ts';
import type { Connections } from './connection.ts';
import type { KafkaJsCluster } from './kafka-cluster.ts';
import { kafkaError } from './kafka-error.ts';

const TRIES = 6;
const PAUSE_MS = 200;

export interface GroupOffsetsOptions {
  readonly prefix: string;
  /** Kafka's name of it. */
  readonly topic: string;
}

export class GroupOffsets {
  readonly #connections: Connections;
  readonly #options: GroupOffsetsOptions;
  readonly #positions: Map<string, Offset>;
  #committing: Promise<unknown> = Promise.resolve();

  private constructor(connections: Connections, options: GroupOffsetsOptions, positions: Map<string, Offset>) {
    this.#connections = connections;
    this.#options = options;
    this.#positions = positions;
  }

  static async open(cluster: KafkaJsCluster, options: GroupOffsetsOptions): Promise<GroupOffsets> {
    const { prefix, topic } = options;
    const positions = new Map<string, Offset>();
    try {
      const { groups } = await cluster.admin.listGroups();
      for (const { groupId } of groups) {
        if (!groupId.startsWith(`${prefix}.`)) continue;
        const [found] = await cluster.admin.fetchOffsets({ groupId, topics: [topic] });
        for (const { partition, offset } of found?.partitions ?? []) {
          if (Number(offset) >= 0) positions.set(place(groupId, partition), Number(offset));
        }
      }
    } catch (error) {
      throw kafkaError(error, `reading the positions of the groups of ${topic}`);
    }
    return new GroupOffsets(cluster.connections(), options, positions);
  }

  /** Calls are carried out one after another. */
  commit(group: string, partition: number, offset: Offset): Promise<void> {
    const done = this.#committing.then(() => this.#commit(`${this.#options.prefix}.${group}`, partition, offset));
    this.#committing = done.catch(() => undefined);
    return done;
  }

  committed(group: string, partition: number): Offset | undefined {
    return this.#positions.get(place(`${this.#options.prefix}.${group}`, partition));
  }

  close(): void {
    this.#connections.close();
  }

  async #commit(groupId: string, partition: number, offset: Offset): Promise<void> {
    if ((this.#positions.get(place(groupId, partition)) ?? -1) >= offset) return;
    for (let tries = 1; ; tries += 1) {
      try {
        const coordinator = await this.#connections.coordinator(groupId);
        await coordinator.offsetCommit({
          groupId,
          groupGenerationId: -1, // no member: a position set from outside
          memberId: '',
          topics: [{ topic: this.#options.topic, partitions: [{ partition, offset: String(offset), metadata: '' }] }],
        });
        break;
      } catch (error) {
        const failure = kafkaError(error, `committing a position of group ${groupId}`);
        if (failure.code !== 'CF-3001' || tries === TRIES) throw failure;
        await pause(PAUSE_MS * tries); // a commit repeated says the same again
      }
    }
    this.#positions.set(place(groupId, partition), offset);
  }
}

function place(groupId: string, partition: number): string {
  return `${groupId} ${partition}`;
}
