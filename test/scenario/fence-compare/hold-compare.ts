/** A process of its own that holds a comparison until it is killed. */
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { readMapping } from '#services/cli/catalogs.ts';
import { beginFenceCompare } from '#services/reconciler/fence/fence-compare.ts';
import { silentLogger } from '#services/runtime/service.ts';

const [source, target] = process.argv.slice(2);
const text = `crossfade: 1\nname: played\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\ntables:\n  - from: public.*\n`;
const { file } = readMigrationFile({ path: 'test.yaml', text, env: {} });
await beginFenceCompare({ file: file!, mapping: await readMapping(file!), logger: silentLogger });
process.send!('held');
// The channel keeps it alive.
process.on('message', () => undefined);
