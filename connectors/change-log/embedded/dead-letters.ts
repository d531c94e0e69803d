/** Rows set aside, in a topic of the embedded log: each record is one JSON object of key, value and headers. Guarantee: as of the port. */
import type { Topic } from '../change-log.ts';
import type { DeadLetterTopic } from '../dead-letter-topic.ts';

export function embeddedDeadLetters(topic: Topic, raw: Pick<Topic, 'name'>): DeadLetterTopic {
  return {
    placeOf: ({ logOffset }) => Promise.resolve({ topic: raw.name, partition: 0, offset: logOffset }),
    publish: async (records) => {
      const parts = records.flatMap((record) => {
        const bytes = Buffer.from(JSON.stringify(record), 'utf8');
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        return [length, bytes];
      });
      await topic.append(0, { count: records.length, parts });
    },
  };
}
