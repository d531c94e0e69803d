import { describe, expect, it } from 'vitest';
import { changesAstray } from '#services/up/changes-astray.ts';

const record = (text: string): Buffer => Buffer.from(text);
const RULES = 'reader:lose:gone,sink:lose:late,sink:alter:bent';

function arrived(way: 'reader' | 'sink', records: readonly string[]): string[] {
  const astray = changesAstray(RULES);
  return records.flatMap((one) => astray(way, record(one))?.toString() ?? []);
}

describe('changes that a test has go astray', () => {
  it('loses the rows of a transaction from the text on, and of no other one', () => {
    const records = ['B', 'I before', 'U gone', 'D row', 'R relation', 'C', 'B', 'I after', 'C'];
    expect(arrived('reader', records)).toEqual(['B', 'I before', 'R relation', 'C', 'B', 'I after', 'C']);
  });

  it('loses nothing elsewhere', () => {
    expect(arrived('sink', ['B', 'U gone', 'C'])).toEqual(['B', 'U gone', 'C']);
  });

  it('alters each text where it stands, and leaves the record as it was given', () => {
    const given = record('U bent, bent');
    expect(changesAstray(RULES)('sink', given)?.toString()).toBe('U ben?, ben?');
    expect(given.toString()).toBe('U bent, bent');
  });

  it('lets rows pass that were copied', () => {
    expect(arrived('sink', ['B', 'c bent late', 'C'])).toEqual(['B', 'c bent late', 'C']);
  });

  it.each(['sink', 'sink:lose', 'sink:lose:', 'transformer:lose:x', 'sink:double:x'])('refuses %s', (rules) => {
    expect(() => changesAstray(rules)).toThrow(expect.objectContaining({ code: 'CF-1007' }));
  });
});
