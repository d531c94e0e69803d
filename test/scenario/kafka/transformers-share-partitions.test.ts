/** Transformer processes on a real broker, under load: shares, take-over, a zombie that wakes up, a graceful leave. */
import { expect, test } from 'vitest';
import { describeWithKafka } from '#test/support/kafka/describe-with-kafka.ts';
import { startKafka } from '#test/support/kafka/kafka.ts';
import { sharedKafka } from '#test/support/kafka/shared-servers.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { TransformerStage } from '#test/support/transformer-stage.ts';

const LONG_MS = 240_000;

describeWithKafka('transformers on Kafka', () => {
  test(
    'share the partitions, and take over from one that is stopped, killed or leaves, without leaving anything out',
    { timeout: LONG_MS },
    async () => {
      const { brokers } = await sharedKafka();
      const seed = seedFromEnvironment();
      await using stage = await TransformerStage.open(brokers[0]!, `share_${process.pid}`);
      stage.write(seeded(seed));
      const first = stage.start();
      const took: Record<string, number> = {};
      await stage.until(() => first.held.length === 3);

      const second = stage.start();
      const isShared = (): boolean => first.held.length > 0 && second.held.length > 0 && first.held.length + second.held.length === 3;
      took['joined'] = await stage.until(isShared);
      await stage.caughtUp();

      first.signal('SIGSTOP');
      took['stopped'] = await stage.until(() => second.held.length === 3);
      await stage.caughtUp();
      first.signal('SIGCONT');
      took['woken'] = await stage.until(isShared);
      await stage.caughtUp();

      first.signal('SIGKILL');
      took['killed'] = await stage.until(() => second.held.length === 3);
      await stage.caughtUp();

      await stage.trimOrder();
      const third = stage.start();
      await stage.until(() => third.held.length > 0);
      second.signal('SIGTERM');
      await second.ended;
      took['left'] = await stage.until(() => third.held.length === 3);

      const check = await stage.finish();
      expect({ seed, faults: check.faults.slice(0, 3) }).toEqual({ seed, faults: [] });
      const { mapped, expected } = check.sides;
      expect(expected.length).toBeGreaterThan(1000);
      expect({ seed, mapped }).toEqual({ seed, mapped: expected });
      // As far as heartbeats tell, and not when its session is over: that takes ten seconds.
      expect(took['left']).toBeLessThan(8_000);
    },
  );

  test('go on by themselves after the broker was killed under load', { timeout: LONG_MS }, async () => {
    await using kafka = await startKafka();
    const seed = seedFromEnvironment();
    await using stage = await TransformerStage.open(kafka.brokers[0]!, 'outage');
    const transformers = [stage.start(), stage.start()];
    stage.write(seeded(seed));
    await stage.until(() => transformers.every(({ held }) => held.length > 0));
    await stage.caughtUp();
    await kafka.kill();
    await kafka.start();
    await stage.caughtUp();
    const check = await stage.finish();
    const { mapped, expected } = check.sides;
    expect({ seed, faults: check.faults.slice(0, 3) }).toEqual({ seed, faults: [] });
    expect({ seed, mapped }).toEqual({ seed, mapped: expected });
  });
});
