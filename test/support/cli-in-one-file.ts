/**
 * `crossfade` for the processes that tests start, in one file: a process of the sources takes two thirds of a second of a core to load a thousand modules, and a run starts
 * hundreds. Guarantee: made of the sources as they are when the run begins; a module's own path is that of its source; the tests of the command line itself run the sources.
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import type { TestProject } from 'vitest/node';
import { CLI } from '#services/demo/pipeline/pipeline.ts';

const CACHE = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'cli-in-one-file');
const KEPT_MS = 24 * 3_600_000;
/** Of many small modules, and nothing in them that must be found at its place. All other packages stay what they are. */
const ALONG = /^(?:[./#]|zod\b|yaml\b)/;

export async function setup(project: TestProject): Promise<void> {
  if (project.config.watch) return; // the sources change while it runs
  process.env['CROSSFADE_TEST_CLI'] = join(await bundled(), 'main.js'); // test processes inherit it
}

async function bundled(): Promise<string> {
  mkdirSync(CACHE, { recursive: true });
  for (const name of readdirSync(CACHE))
    if (Date.now() - statSync(join(CACHE, name)).mtimeMs > KEPT_MS) rmSync(join(CACHE, name), { recursive: true, force: true });
  const draft = mkdtempSync(join(CACHE, 'draft-'));
  const bundle = await rolldown({
    input: CLI,
    platform: 'node',
    external: (id) => !ALONG.test(id),
    resolve: { conditionNames: ['crossfade-source', 'node', 'import', 'default'] },
    logLevel: 'silent',
    plugins: [{ name: 'own-paths', transform: { filter: { id: /\.ts$/, code: /\bimport\.meta\b/ }, handler: withOwnPaths } }],
  });
  await bundle.write({ dir: draft, format: 'esm' });
  // Under a name of what it is: Node keeps compiled modules by their path.
  const hash = createHash('sha256');
  for (const name of globSync('**/*.js', { cwd: draft }).toSorted()) hash.update(`${name}\n`).update(readFileSync(join(draft, name)));
  const final = join(CACHE, hash.digest('hex').slice(0, 16));
  if (existsSync(final)) {
    rmSync(draft, { recursive: true, force: true });
    utimesSync(final, new Date(), new Date());
  } else renameSync(draft, final);
  return final;
}

function withOwnPaths(code: string, path: string): string {
  const own: Record<string, string> = {
    url: JSON.stringify(pathToFileURL(path).href),
    filename: JSON.stringify(path),
    dirname: JSON.stringify(dirname(path)),
    main: 'false', // the entry asks for nothing of the kind
  };
  return code.replaceAll(/\bimport\.meta\.(url|filename|dirname|main)\b/g, (_, key: string) => own[key]!);
}
