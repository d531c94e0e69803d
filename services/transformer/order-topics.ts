/** The raw topics, as the order topic names them. Guarantee: an index means the topic that it means to the reader and to the sink. */
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { checkBeginning, isCheckpoint, TopicDirectory } from '#connectors/change-log/kafka/order/order-tail.ts';
import { decodeOrderRecord, type OrderRecord, type TopicOrderRecord } from '#schemas/order/order-record.ts';

const JSON_BEGINS = 0x7b; // {

export class OrderTopics {
  readonly #directory = new TopicDirectory();
  /** What stood below the next record was removed, or is nothing. */
  #isAtBeginning = true;
  /** Of the order topic: read below this. */
  read: Offset = 0;

  get topics(): Iterable<TopicOrderRecord> {
    return this.#directory.entries();
  }

  /** Reading goes on behind records that were removed. */
  skip(): void {
    this.#isAtBeginning = true;
  }

  /**
   * Takes records of the order topic; segments are passed over by their first byte. @returns the topics that are new.
   * @throws PipelineError CF-3003 when records were removed, and what follows them does not say what they said.
   */
  take(records: readonly FetchedRecord[], next: Offset): readonly TopicOrderRecord[] {
    const added: TopicOrderRecord[] = [];
    for (const { value, offset } of records) {
      if (value === undefined || (value[0] !== JSON_BEGINS && !this.#isAtBeginning)) continue;
      const record = decodeOrderRecord(value);
      if (this.#isAtBeginning) checkBeginning(record, offset);
      this.#isAtBeginning = false;
      for (const topic of topicsOf(record, offset)) {
        this.#directory.take(topic);
        if (this.#directory.numbered(topic.index) === topic) added.push(topic);
      }
    }
    this.read = next;
    return added;
  }
}

/** A checkpoint repeats all that stood before it: first come first served tells nothing new to whoever has read that. */
function topicsOf(record: OrderRecord, offset: Offset): readonly TopicOrderRecord[] {
  if (record.t === 'topic') return [record];
  return isCheckpoint(record, offset) ? record.topics : [];
}
