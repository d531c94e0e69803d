/** A proof's stage with a broker of its own. Guarantee: all of it is gone with `await using`. */
import { type Kafka, startKafka } from '#test/support/kafka/kafka.ts';
import { kafkaProvider } from '#test/support/kafka/provider.ts';
import { Skipped } from '../proof.ts';
import { openProofStage, type ProofStage, type ProofStageOptions } from '../proof-stage.ts';

export interface KafkaStage extends ProofStage {
  readonly kafka: Kafka;
}

/** @throws Skipped where there is no Kafka */
export async function openKafkaStage(options: ProofStageOptions): Promise<KafkaStage> {
  if ((await kafkaProvider()) === undefined) throw new Skipped('(needs Kafka: a Docker engine, or Java 17 and Maven)');
  await using stack = new AsyncDisposableStack();
  const kafka = stack.use(await startKafka());
  const stage = stack.use(await openProofStage({ ...options, file: `${options.file}\n${kafkaLines(kafka)}` }));
  const kept = stack.move();
  return { ...stage, kafka, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}

/** The block that makes a migration file one for services over Kafka. */
export function kafkaLines(kafka: Kafka): string {
  const brokers = kafka.brokers.map((broker) => `"${broker}"`).join(', ');
  return `log: { kafka: { brokers: [${brokers}], partitions: 3 } }`;
}
