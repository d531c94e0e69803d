/**
 * Guarantee: a suite that needs Kafka, a registry or Connect runs where they can be had, and otherwise is skipped with the reason in its
 * title, which `npm test` turns into one line. What has to be downloaded for it is downloaded outside of every test's time limit.
 */
import { beforeAll, describe } from 'vitest';
import { fetchConnect } from './connect.ts';
import { hasJavaAndMaven } from './jars.ts';
import { kafkaProvider } from './provider.ts';
import { fetchRegistry } from './registry.ts';

const FETCH_TIMEOUT_MS = 600_000;
const hasKafka = (await kafkaProvider()) !== undefined; // pulls the image or fetches the jars

export function describeWithKafka(title: string, body: () => void): void {
  describe.skipIf(!hasKafka)(`${title}${hasKafka ? '' : ' (needs Kafka: a Docker engine, or Java 17 and Maven)'}`, () => {
    body();
  });
}

/** A suite that calls `startRegistry` or `sharedRegistry`. */
export function describeWithRegistry(title: string, body: () => void): void {
  describeWithKafka(title, () => {
    beforeAll(fetchRegistry, FETCH_TIMEOUT_MS);
    body();
  });
}

/** A suite that calls `startConnect`, and perhaps `startRegistry`. */
export function describeWithConnect(title: string, body: () => void): void {
  const present = hasKafka && hasJavaAndMaven();
  describe.skipIf(!present)(`${title}${present ? '' : ' (needs Kafka Connect: Java 17 and Maven)'}`, () => {
    beforeAll(async () => Promise.all([fetchRegistry(), fetchConnect()]), FETCH_TIMEOUT_MS);
    body();
  });
}
