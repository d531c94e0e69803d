/**
 * Recorded rows as YAML, behind what stands in the file of tests already. Guarantee: what is written reads back as the same rows, a row
 * that stands there is not written again, and no word of what somebody has written is changed.
 */
import type { MappingTest } from '#schemas/config/mapping-test.ts';
import { mapRow, SERVER_ONLY, type MappedRow } from '#schemas/mapping/map-row.ts';
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { RecordedRow } from './record-rows.ts';

const HEAD = `# Tests of the mapping; \`crossfade test\` runs them without a server (docs/testing.md).
# Recorded rows are in disguise, and what is expected of them is what came of them: read it before you commit it.
tests:
`;

/** The file's new text, and how many rows are new in it. */
export function appendTests(
  text: string | undefined,
  known: readonly MappingTest[],
  recorded: readonly RecordedRow[],
): { text: string; added: number } {
  const seen = new Set(
    known.map((test) =>
      rowId(
        test.from,
        [...test.given].map(([name, value]) => [name, value.text]),
      ),
    ),
  );
  const counts = new Map<string, number>();
  const blocks: string[] = [];
  for (const { tables, row } of recorded) {
    const from = showTable(tables[0]!.from);
    const given = [...row].filter(([, value]) => value !== null);
    const id = rowId(from, given);
    if (seen.has(id)) continue;
    seen.add(id);
    const count = (counts.get(from) ?? known.filter((test) => test.from === from).length) + 1;
    counts.set(from, count);
    blocks.push(renderTest(`row ${count} of ${from}`, { tables, row }));
  }
  const head = text === undefined || text.trim() === '' ? HEAD : text.endsWith('\n') ? text : `${text}\n`;
  return { text: head + blocks.join(''), added: blocks.length };
}

function rowId(from: string, given: readonly (readonly [string, string | null])[]): string {
  const values = given.filter(([, value]) => value !== null).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([from, values]);
}

function renderTest(name: string, { tables, row }: RecordedRow): string {
  const lines = [`  - name: ${scalar(name)}`, `    from: ${scalar(showTable(tables[0]!.from))}`, '    given:'];
  for (const [column, value] of row) if (value !== null) lines.push(`      ${key(column)}: ${scalar(value)}`);
  const outcome = mapRow(tables, row);
  if (outcome.kind === 'refused') lines.push(`    error: ${scalar(outcome.code)}`);
  else if (outcome.rows.length === 0) lines.push('    expect: none');
  else
    lines.push(
      '    expect:',
      ...(tables.length === 1 && outcome.rows.length === 1 ? renderRow(outcome.rows[0]!, 6) : outcome.rows.flatMap(renderPlacedRow)),
    );
  return lines.map((line) => `${line}\n`).join('');
}

function renderPlacedRow(row: MappedRow): string[] {
  return [`      - to: ${scalar(showTable(row.to))}`, '        row:', ...renderRow(row, 10)];
}

function renderRow({ values }: MappedRow, indent: number): string[] {
  return [...values].flatMap(([column, value]) => (value === SERVER_ONLY ? [] : [`${' '.repeat(indent)}${key(column)}: ${scalar(value)}`]));
}

function key(text: string): string {
  return /^[A-Za-z_]\w*$/.test(text) ? text : quoted(text);
}

/** Numbers as they are, all else in quotes; a reference to the environment would be read as one. */
function scalar(text: string | null): string {
  if (text === null) return 'null';
  return /^-?\d{1,30}(?:\.\d+)?$/.test(text) ? text : quoted(text.replaceAll('${', () => '$${'));
}

/** The reader counts brackets that are open, also within texts: those that nothing closes must not add up. */
function quoted(text: string): string {
  const json = JSON.stringify(text);
  const depth = [...json].reduce((open, one) => open + ('[{'.includes(one) ? 1 : ']}'.includes(one) ? -1 : 0), 0);
  return depth === 0 ? json : json.replaceAll('[', String.raw`\u005b`).replaceAll('{', String.raw`\u007b`);
}
