/** Up to where topics may be cut, from the bookmarks of before. */
import { expect, test } from 'vitest';
import type { TopicPartition } from '#connectors/change-log/kafka/cluster.ts';
import type { Cut, GatherPlace } from '#connectors/change-log/kafka/order/bookmark.ts';
import { dueCut, trailOf } from '#connectors/change-log/kafka/order/trail.ts';
import { TopicTrimmer } from '#connectors/change-log/kafka/order/trim-topics.ts';
import { PipelineError } from '#schemas/errors.ts';

function placeAt(bytes: number, trail: readonly Cut[] = []): GatherPlace {
  return {
    version: 2,
    mappings: [],
    base: bytes,
    order: bytes + 3,
    checkpoint: bytes,
    epoch: 1,
    topics: [
      { t: 'topic', index: 0, topic: 'm.public.a', schema: 'public', table: 'a', partitions: 1 },
      { t: 'topic', index: 1, topic: 'legacy.public.b', schema: 'public', table: 'b', partitions: 1, oid: 7 },
    ],
    claims: bytes,
    mapped: { 'm.mapped.public.a': [bytes] },
    raw: [
      { raw: 0, taken: bytes, claimed: bytes, ends: [] },
      { raw: 0x10000, taken: bytes, claimed: bytes, ends: [] },
    ],
    bytes,
    trail,
  };
}

function walked(to: number, step: number, retainBytes: number): GatherPlace {
  let trail: readonly Cut[] = [];
  let place = placeAt(0);
  for (let bytes = 0; bytes <= to; bytes += step) {
    trail = trailOf(trail, placeAt(bytes), retainBytes);
    place = placeAt(bytes, trail);
  }
  return place;
}

test('a cut lies at least so many bytes behind the bookmark, and not much more', () => {
  for (const to of [1_000, 1_030, 5_000, 9_990]) {
    const { bytes } = dueCut(walked(to, 10, 1_000), 1_000)!;
    expect(to - bytes).toBeGreaterThanOrEqual(1_000);
    expect(to - bytes).toBeLessThanOrEqual(1_500);
  }
  expect(dueCut(walked(990, 10, 1_000), 1_000)).toBeUndefined();
  expect(dueCut(walked(40, 10, 0), 0)?.bytes).toBe(40);
});

test('few places travel with a bookmark, however far it is', () => {
  expect(walked(100_000, 10, 1_000).trail!.length).toBeLessThan(8);
});

test('a cut never reaches above what the bookmark itself needs, whatever a place of before says', () => {
  const wild: Cut = { bytes: 0, order: 900, claims: 900, mapped: { 'm.mapped.public.a': [900], gone: [5] }, raw: [[0, 900]] };
  expect(dueCut(placeAt(100, [wild]), 0)).toEqual({
    bytes: 0,
    order: 100,
    claims: 100,
    mapped: { 'm.mapped.public.a': [100] },
    raw: [[0, 100]],
  });
});

/** Of topics that all exist but `deleted`; those that `isStuck` says cannot be cut. */
function trimmerOf(cuts: string[], isStuck: (topic: string) => boolean, deleted = ''): TopicTrimmer {
  const all = ['m.mapped.progress', 'm.order', 'm.mapped.public.a', 'm.public.a'];
  const trim = async ({ topic }: TopicPartition, before: number): Promise<void> => {
    cuts.push(`${topic} ${before}`);
    if (isStuck(topic)) throw new PipelineError('CF-3001', `${topic} has no leader`);
    if (topic === deleted) throw new Error('it is waited for');
  };
  return new TopicTrimmer({ cluster: { trim, topics: async () => all.filter((topic) => topic !== deleted) }, name: 'm', retainBytes: 0 });
}

test('a partition that cannot be cut keeps no other from it, and is tried again', async () => {
  const cuts: string[] = [];
  let stuck = ['m.mapped.progress', 'm.order'];
  const trimmer = trimmerOf(cuts, (topic) => stuck.includes(topic));
  const place = walked(40, 10, 0);
  await expect(trimmer.trim(place)).rejects.toThrow('m.mapped.progress has no leader');
  expect(cuts).toEqual(['m.mapped.progress 40', 'm.order 40', 'm.mapped.public.a 40', 'm.public.a 40']);
  stuck = ['m.order'];
  await expect(trimmer.trim(place)).rejects.toThrow('m.order has no leader');
  expect(cuts.splice(4)).toEqual(['m.mapped.progress 40', 'm.order 40']);
  // Of what fails every time the rest does not wait.
  stuck = ['m.mapped.progress', 'm.order', 'm.mapped.public.a'];
  await expect(trimmer.trim(walked(50, 10, 0))).rejects.toThrow('no leader');
  await expect(trimmer.trim(walked(50, 10, 0))).rejects.toThrow('no leader');
  expect(cuts).toContain('m.public.a 50');
});

test('a topic that was deleted is passed over', async () => {
  const cuts: string[] = [];
  await trimmerOf(cuts, () => false, 'm.order').trim(walked(40, 10, 0));
  expect(cuts).toEqual(['m.mapped.progress 40', 'm.mapped.public.a 40', 'm.public.a 40']);
});

test('topics of another connector are left alone, and nothing is cut twice', async () => {
  const cuts: string[] = [];
  const trimmer = trimmerOf(cuts, () => false);
  const place = walked(40, 10, 0);
  await trimmer.trim(place);
  expect(cuts).toEqual(['m.mapped.progress 40', 'm.order 40', 'm.mapped.public.a 40', 'm.public.a 40']);
  await trimmer.trim(place);
  expect(cuts).toHaveLength(4);
});
