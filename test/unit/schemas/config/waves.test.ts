/** `waves:` of the file, and the files that are made of it. */
import { describe, expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { waveFile, waveNames } from '#schemas/config/wave-file.ts';

const HEAD = 'crossfade: 1\nname: shop\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\n';
const TABLES = 'tables: [{ from: public.* }]\n';

function read(waves: string, rest = TABLES): { readonly file: MigrationFile | undefined; readonly told: readonly string[] } {
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text: `${HEAD}${rest}waves: ${waves}\n`, env: {} });
  return { file, told: findings.map(({ line, message }) => `${line} ${message}`) };
}

describe('the grammar', () => {
  test('a list is a wave for each unit; a block names waves of several, and one of all others', () => {
    expect(read('{ by: tenant_id, units: [acme, 007] }').file?.waves).toMatchObject({
      by: 'tenant_id',
      waves: [
        { name: 'acme', units: ['acme'] },
        { name: '007', units: ['007'] },
      ],
      shared: [],
      observationMs: 0,
    });
    const { file } = read('{ by: region, units: { eu: [de, fr], us: us, rest: "*" }, shared: [public.currency], observation: 24h }');
    expect(file?.waves?.waves).toEqual([
      { name: 'eu', units: ['de', 'fr'] },
      { name: 'us', units: ['us'] },
      { name: 'rest', units: '*' },
    ]);
    expect([file?.waves?.observationMs, waveNames(file!.waves!)]).toEqual([86_400_000, ['eu', 'us', 'rest', 'shared']]);
  });

  test.each([
    ['{ by: t, units: [Acme] }', 'small letters, digits and underscores: write `units` as a block'],
    ['{ by: t, units: { shared: a } }', 'the tables under `shared`'],
    ['{ by: t, units: { a_reverse: a } }', 'that of a way back'],
    ['{ by: t, units: { a: x, b: [y, x] } }', 'in two waves'],
    ['{ by: t, units: { a: "*", b: "*" } }', 'takes all other units already'],
    ['{ by: t, units: { a: [x, "*"] } }', '"*" stands alone'],
    [`{ by: t, units: [${'a'.repeat(60)}] }`, 'more than 48 characters'],
  ])('%s is refused', (waves, why) => {
    expect(read(waves).told.join()).toContain(why);
  });

  test('one PostgreSQL target, by the embedded log', () => {
    const kafka = `${TABLES}log: { kafka: { brokers: ["h:9092"] } }\n`;
    expect(read('{ by: t, units: [a] }', kafka).told.join()).toContain('by the embedded log');
  });
});

describe('the file of a wave', () => {
  const { file } = read('{ by: t, units: [acme, globex] }');

  test('is a migration of its own name', () => {
    expect(waveFile(file!, 'globex')).toMatchObject({ name: 'shop_globex', wave: { name: 'globex', of: 'shop' } });
    expect(waveFile(file!, 'globex').waves).toBeUndefined();
  });

  test('has to be named, and to be one of the file', () => {
    expect(() => waveFile(file!, undefined)).toThrow('acme, globex');
    expect(() => waveFile(file!, 'acne')).toThrow('did you mean "acme"');
    const whole = readMigrationFile({ path: 'm.yaml', text: HEAD + TABLES, env: {} }).file!;
    expect(waveFile(whole, undefined)).toBe(whole);
    expect(() => waveFile(whole, 'acme')).toThrow('no waves');
  });
});
