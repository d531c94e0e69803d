/** `crossfade/testing`: the sources in a checkout (or a link to one), what was built of them in a package. */
import { existsSync } from 'node:fs';

const source = new URL('../services/cli/test/mapping-of.ts', import.meta.url);
const built = new URL('../dist/services/cli/test/mapping-of.js', import.meta.url);

export const { mappingOf } = await import(existsSync(source) ? source : built);
