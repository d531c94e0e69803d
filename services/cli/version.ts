/** This package's version, from the one place that holds it. */
import { readFileSync } from 'node:fs';

interface PackageFile {
  readonly version: string;
}

export const VERSION: string = (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as PackageFile).version;
