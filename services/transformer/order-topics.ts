/** The raw topics, as the order topic names them. Guarantee: an index means the topic that it means to the reader and to the sink. */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { TopicDirectory } from '#connectors/change-log/kafka/order/order-tail.ts';
import { decodeOrderRecord, type TopicOrderRecord } from '#schemas/order/order-record.ts';

const JSON_BEGINS = 0x7b; // {

export class OrderTopics {
  readonly #directory = new TopicDirectory();
  /** Of the order topic: read below this. */
  read: Offset = 0;

  get topics(): Iterable<TopicOrderRecord> {
    return this.#directory.entries();
  }

  /** Takes records of the order topic; segments are passed over by their first byte. @returns the topics that are new. */
  take(records: readonly FetchedRecord[], next: Offset): readonly TopicOrderRecord[] {
    const added: TopicOrderRecord[] = [];
    for (const { value } of records) {
      if (value?.[0] !== JSON_BEGINS) continue;
      const record = decodeOrderRecord(value);
      if (record.t !== 'topic') continue;
      this.#directory.take(record);
      if (this.#directory.numbered(record.index) === record) added.push(record);
    }
    this.read = next;
    return added;
  }
}
