import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { openFunctions } from '#connectors/user-functions/open-functions.ts';
import { UserFunctionFailure } from '#schemas/mapping/steps/user-function.ts';

const directory = await mkdtemp(join(tmpdir(), 'crossfade-functions-'));
afterAll(() => rm(directory, { recursive: true, force: true }));

let files = 0;
async function fileOf(text: string): Promise<string> {
  const path = join(directory, `functions-${++files}.ts`);
  await writeFile(path, text);
  return path;
}

const TEXT = `import { createHash } from 'node:crypto';
let calls = 0;
export function shout(row: { name: string | null }): string | null { return row.name === null ? null : row.name.toUpperCase(); }
export const twice = (row: { n: bigint }): bigint => row.n * 2n;
export const short = (row: { name: string }): string => createHash('md5').update(row.name).digest('hex').slice(0, 4);
export function endless(): never { for (;;) calls++; }
export function throws(row: { name: string }): never { throw new Error(row.name); }
export async function later(): Promise<string> { return 'x'; }
export const odd = (): (() => void) => () => undefined;
export const secrets = (): string => String(process.env['PATH'] ?? 'none');
export const hungry = (): string => { const all: string[][] = []; for (;;) all.push(Array.from({ length: 1e5 }, (_, i) => String(i))); };
`;

test('functions of a file get their row and answer at once; what they do wrong refuses the row and shows nothing of it', async () => {
  const names = ['shout', 'twice', 'short', 'throws', 'later', 'odd', 'secrets'];
  const functions = await openFunctions(await fileOf(TEXT), names);
  const call = (name: string, row: Record<string, string | bigint | null>): unknown => functions.get(name)!.call(row);
  expect(call('shout', { name: 'ä' })).toBe('Ä');
  expect(call('shout', { name: null })).toBe(null);
  expect(call('twice', { n: 9_007_199_254_740_993n })).toBe(18_014_398_509_481_986n);
  expect(call('short', { name: '' })).toBe('d41d');
  expect(call('secrets', {})).toBe('none');
  expect(() => call('throws', { name: 'hunter2' })).toThrow(/^the function threw$/);
  expect(() => call('later', {})).toThrow('the function is async');
  expect(() => call('odd', {})).toThrow('what cannot leave its worker');
});

test('an endless or greedy function costs its call, and the next one is answered', async () => {
  const functions = await openFunctions(await fileOf(TEXT), ['endless', 'twice', 'hungry']);
  expect(() => functions.get('endless')!.call({})).toThrow('the function took longer than 1000 ms');
  expect(functions.get('twice')!.call({ n: 2n })).toBe(4n);
  expect(() => functions.get('hungry')!.call({})).toThrow('the function took longer than 1000 ms');
  expect(functions.get('twice')!.call({ n: 3n })).toBe(6n);
});

test('a file that is missing, broken, not alone or without the function is told before any row', async () => {
  await expect(openFunctions(join(directory, 'none.ts'), ['a'])).rejects.toThrow('cannot be read');
  await expect(openFunctions(await fileOf('export const a = ;'), ['a'])).rejects.toThrow('cannot be loaded: ');
  await expect(openFunctions(await fileOf(`${['import', "'./other.ts'"].join(' ')};\nexport const a = 1;`), ['a'])).rejects.toThrow(
    'a file of functions stands alone',
  );
  await expect(openFunctions(await fileOf('export const a = 1;'), ['a'])).rejects.toThrow('exports no function a');
});

test('what a file imports by ways that its text does not show is refused as well; what is only a type, or only looks like an import, is not', async () => {
  await writeFile(join(directory, 'other.ts'), 'export const b = 1;\n');
  const hidden = ["const other = './other' + '.ts';", 'const { b } = await import(other);', 'export const a = () => b;'].join('\n');
  await expect(openFunctions(await fileOf(hidden), ['a'])).rejects.toMatchObject({
    code: 'CF-1004',
    message: expect.stringContaining('imports ./other.ts'),
  });
  const late = [
    "import { createRequire } from 'node:module';",
    "export const a = () => createRequire(import.meta.url)('./other' + '.ts').b;",
  ].join('\n');
  const functions = await openFunctions(await fileOf(late), ['a']);
  expect(() => functions.get('a')!.call({})).toThrow('the function threw');
  const harmless = [
    ['import type { Row } from', "'./types.ts'; // taken from 'legacy'"].join(' '),
    'export const a = (row: Row): string => \'copied from "the old one"\';',
  ].join('\n');
  const alone = await openFunctions(await fileOf(harmless), ['a']);
  expect(alone.get('a')!.call({})).toContain('copied');
});

/** Counts its starts in `starts`, and fails from the second on while `broken` is there. */
function fragile(starts: string, broken: string): string {
  return `import { appendFileSync, existsSync } from 'node:fs';
appendFileSync(${JSON.stringify(starts)}, '.');
if (existsSync(${JSON.stringify(broken)})) throw new Error('no more');
export function endless(): never { for (;;); }
export const one = (): number => 1;
`;
}

test('what was hashed is what runs, also in a worker that had to be started again after the file has changed or gone', async () => {
  const text = 'export function endless(): never { for (;;); }\nexport const version = (): number => 1;\n';
  const path = await fileOf(text);
  const functions = await openFunctions(path, ['endless', 'version']);
  for (const change of [(): Promise<void> => writeFile(path, text.replace('=> 1', '=> 2')), (): Promise<void> => rm(path)]) {
    await change();
    expect(() => functions.get('endless')!.call({})).toThrow('longer than');
    expect(functions.get('version')!.call({})).toBe(1);
  }
});

test('a worker that does not start again refuses each row at once, is tried again after a pause, and then answers', async () => {
  const [starts, broken] = [join(directory, 'starts'), join(directory, 'broken')];
  const path = await fileOf(fragile(starts, broken));
  const started = async (): Promise<number> => (await readFile(starts, 'utf8')).length;
  const functions = await openFunctions(path, ['endless', 'one'], 2000);
  await writeFile(broken, '');
  expect(() => functions.get('endless')!.call({})).toThrow('longer than');
  const refused = "the function's worker does not start again: no more";
  expect(() => functions.get('one')!.call({})).toThrow(new UserFunctionFailure(refused));
  for (let row = 0; row < 100; row++) expect(() => functions.get('one')!.call({})).toThrow(refused);
  expect(await started()).toBe(2);
  await rm(broken);
  await vi.waitFor(() => expect(functions.get('one')!.call({})).toBe(1), { timeout: 20_000, interval: 20 });
  expect(await started()).toBe(3);
});

test('a call costs little, and another text has another digest', async () => {
  const one = (await openFunctions(await fileOf(TEXT), ['twice'])).get('twice')!;
  const other = (await openFunctions(await fileOf(`${TEXT}// more\n`), ['twice'])).get('twice')!;
  expect(one.digest).not.toBe(other.digest);
  let least = Infinity;
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    for (let i = 0; i < 500; i++) one.call({ n: 2n });
    least = Math.min(least, ((performance.now() - start) * 1000) / 500);
  }
  process.stdout.write(`a call: ${least.toFixed(1)} µs\n`);
  expect(least).toBeLessThan(500);
});
