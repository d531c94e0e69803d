import { describe, expect, test } from 'vitest';
import type { ReadBatch } from '#connectors/change-log/change-log.ts';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { toLsn } from '#schemas/lsn.ts';
import { FrameScanner, type Unit } from '#services/sink/frame-scanner.ts';
import { records } from '#test/support/frames.ts';
import { beginFrame, chunkFrame, commitFrame, insertFrame } from '#test/support/sink-frames.ts';

const B = beginFrame(toLsn(1n));
const C = commitFrame(toLsn(1n), toLsn(2n));
const I = insertFrame(1, ['x']);
const K = chunkFrame({ schema: 's', table: 't', columns: ['a'] }, [['1']]);
const E = encodeJsonFrame(FRAME.epoch, {});
const S = encodeJsonFrame(FRAME.tableState, {});

function batches(groups: readonly (readonly Buffer[])[], base = 0): ReadBatch[] {
  let offset = base;
  return groups.map((frames) => {
    const batch = { baseOffset: offset, count: frames.length, bytes: records(frames) };
    offset += frames.length;
    return batch;
  });
}

/** `kind first/last: tags@offset`, one per unit. */
function show(units: readonly Unit[]): string[] {
  return units.map((unit) => {
    if (unit.kind === 'void') return 'void';
    if ('frame' in unit) return `${unit.kind}@${unit.offset}`;
    let tags = '';
    for (const span of unit.spans)
      for (let p = span.from; p < span.to; p += 4 + span.buffer.readUInt32BE(p)) tags += String.fromCharCode(span.buffer[p + 4]!);
    return `${unit.kind}${unit.first ? '' : ' …'} ${tags}${unit.last ? '' : ' …'}@${unit.spans[0]!.offset}`;
  });
}

function scan(scanner: FrameScanner, groups: readonly (readonly Buffer[])[]): string[] {
  return batches(groups).flatMap((batch) => show(scanner.push(batch)));
}

describe('the scanner', () => {
  test('hands on whole transactions, and keeps an open one until its commit', () => {
    expect(scan(new FrameScanner(), [[B, I, C, B, I, I], [I], [C, B, C]])).toEqual([
      'transactions BIC@0',
      'transactions BIIIC@3',
      'transactions BC@8',
    ]);
  });

  test('sets transactions with chunk rows apart', () => {
    expect(scan(new FrameScanner(), [[B, I, C, B, K, C, B, I, C]])).toEqual(['transactions BIC@0', 'chunk BkC@3', 'transactions BIC@6']);
  });

  test('drops a transaction that an epoch interrupts', () => {
    expect(
      scan(new FrameScanner(), [
        [B, I, C, B, I],
        [E, B, I, C],
      ]),
    ).toEqual(['transactions BIC@0', 'epoch@5', 'transactions BIC@6']);
  });

  test('hands on a large transaction in parts, and says when they are void', () => {
    expect(scan(new FrameScanner(1), [[B, I], [I], [C, B, I, C]])).toEqual([
      'transactions BI …@0',
      'transactions … I …@2',
      'transactions … C@3',
      'transactions BIC@4',
    ]);
    expect(
      scan(new FrameScanner(1), [
        [B, I],
        [E, B, I, C],
      ]),
    ).toEqual(['transactions BI …@0', 'void', 'epoch@2', 'transactions BIC@3']);
  });

  test('passes over the rest of a transaction when reading begins within it', () => {
    expect(scan(new FrameScanner(), [[I, I, C, S, B, I, C]])).toEqual(['state@3', 'transactions BIC@4']);
  });

  test('hands on no record of a transaction whose begin it has not seen, wherever reading begins', () => {
    const frames = [B, I, C, B, K, K, I, C, S, B, I, K, C, B, C, B, I, E, B, K, C];
    const begins = frames.flatMap((frame, at) => (frame === B ? [at] : []));
    for (let from = 0; from < frames.length; from++) {
      const units = batches([frames.slice(from)], from).flatMap((batch) => new FrameScanner().push(batch));
      const offsets = units.flatMap((unit) => ('spans' in unit ? unit.spans.map((span) => span.offset) : []));
      for (const offset of offsets) expect(begins, `reading from record ${from}`).toContain(offset);
    }
  });
});
