/** A temporary directory. Guarantee: gone with `using`, and at the latest with this process, however that ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unwatch, watch } from '../local-postgres/watchdog.ts';

export interface Scratch extends Disposable {
  readonly path: string;
}

export function makeScratch(prefix: string): Scratch {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  watch({ directory });
  return {
    path: directory,
    [Symbol.dispose]: () => {
      rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
      unwatch({ directory });
    },
  };
}
