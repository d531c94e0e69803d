/** Steps beside the SQL that they claim to be. Guarantee: a real PostgreSQL 18 answers, in UTC and with ISO dates. */
import { connect } from '#connectors/postgres/session.ts';
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { buildStep } from '#schemas/mapping/steps/build-step.ts';
import { StepRefusal, type Value } from '#schemas/mapping/steps/step.ts';
import { freshDatabase } from './postgres.ts';

/** The step as a function of one text. */
export function step(block: StepBlock): (text: string) => Value {
  const built = buildStep(block, { inputs: [] });
  return (text) => (built.takes === 'one' ? built.apply(text) : built.apply([text]));
}

/** What the step makes of the text; undefined: it refuses it. */
export function takenBy(block: StepBlock): (text: string) => Value | undefined {
  const apply = step(block);
  return (text) => {
    try {
      return apply(text);
    } catch (error) {
      if (error instanceof StepRefusal) return undefined;
      throw error;
    }
  };
}

/** One column of answers for one array of texts. */
export async function ask(sql: string, ...lists: readonly (readonly string[])[]): Promise<(string | null)[]> {
  await using database = await freshDatabase(18);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  try {
    await client.query("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'");
    const names = lists.map((_, i) => `v${i + 1}`).join(', ');
    const arrays = lists.map((_, i) => `$${i + 1}::text[]`).join(', ');
    const query = `SELECT (${sql})::text AS v FROM unnest(${arrays}) WITH ORDINALITY AS u(${names}, n) ORDER BY n`;
    const { rows } = await client.query<{ v: string | null }>(query, [...lists]);
    return rows.map(({ v }) => v);
  } finally {
    await client.end();
  }
}
