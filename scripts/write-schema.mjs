/** Writes schemas/config/migration.schema.json, what editors check and complete a migration file by. Run it with Node 26 after the grammar changed. */
import { writeFileSync } from 'node:fs';
import { migrationJsonSchema } from '../schemas/config/migration-schema.ts';

writeFileSync(new URL('../schemas/config/migration.schema.json', import.meta.url), `${JSON.stringify(migrationJsonSchema(), null, 2)}\n`);
