/** The plan as headings, tables and lists, whatever form they are written in. Guarantee: everything in the plan is in the layout. */
import { bytes, type Block, code, count, figure, heading, type Inline, type Line, listed, table, text } from '../document/blocks.ts';
import type { PlanColumn, PlanDocument, PlanDrop, PlanTable } from './plan-document.ts';

export function layoutPlan(plan: PlanDocument, changes?: readonly string[]): Block[] {
  return [
    heading(1, ['Migration plan: ', code(plan.name)]),
    table(
      ['', ''],
      [
        [['Plan'], [code(plan.hash)]],
        [['Mapping'], [code(plan.mappingHash)]],
        [['Source'], [`${plan.source.server}, `, code(plan.source.address)]],
        [['Target'], [`${plan.target.server}, `, code(plan.target.address)]],
        [['Change log'], [plan.log]],
        [['WAL held back'], [budgetOf(plan)]],
        ...(plan.reverse === 'off' ? [[['Way back'], ['none: what is written on the target does not go back to the source']]] : []),
        [['Versions'], [`Crossfade ${plan.versions.crossfade}, grammar ${plan.versions.grammar}, time zones ${plan.versions.timeZones}`]],
      ],
    ),
    ...(changes === undefined ? [] : layoutChanges(changes)),
    heading(2, ['Scope']),
    text([`${count(plan.scope.tables, 'table')}, about ${figure(plan.scope.rows)} rows, ${bytes(plan.scope.bytes)}.`]),
    table(
      ['Source table', 'Target table', 'Rows (about)', 'Size', 'To be read'],
      plan.tables.map((one) => [[code(one.from)], [code(one.to)], [figure(one.rows)], [bytes(one.bytes)], [marksOf(one)]]),
      [2, 3],
    ),
    ...listed(
      'Tables of the source that stay where they are:',
      plan.scope.leftOut.map((name) => [code(name)]),
    ),
    ...listed(
      'Not moved by this migration:',
      plan.scope.notMoved.map((line) => [line]),
    ),
    ...layoutAttention(plan),
    ...layoutSchemaSteps(plan),
    ...layoutShadow(plan),
    heading(2, ['Tables']),
    ...plan.tables.flatMap(layoutTable),
    heading(2, ['Method']),
    { kind: 'list', items: plan.method.map((line) => [line]) },
    heading(2, ['Limits']),
    { kind: 'list', items: plan.limits.map((line) => [line]) },
  ];
}

function budgetOf({ slot: { budgetBytes, onBudget } }: PlanDocument): string {
  if (budgetBytes === null) return 'as much as it takes';
  const beyond = onBudget === 'drop' ? 'the slot is dropped and the migration given up' : 'a warning';
  return `at most ${bytes(budgetBytes)}; beyond: ${beyond}`;
}

function layoutChanges(changes: readonly string[]): Block[] {
  const title = heading(2, ['What changes']);
  if (changes.length === 0) return [title, text(['Nothing: both files mean the same.'])];
  return [title, { kind: 'list', items: changes.map((line) => [line]) }];
}

function layoutSchemaSteps({ schemaSteps }: PlanDocument): Block[] {
  if (schemaSteps.length === 0) return [];
  const rows = schemaSteps.map(({ name, up, down, verify }) => [[code(name)], [code(up)], [code(down)], [code(verify)]]);
  return [heading(2, ['Schema steps on the target']), table(['Step', 'Up', 'Down', 'Done when true'], rows)];
}

function layoutShadow({ shadow = [] }: PlanDocument): Block[] {
  if (shadow.length === 0) return [];
  const rows = shadow.map(({ name, source, target, rules }) => [
    [code(name)],
    [code(source)],
    target === source ? ['the same'] : [code(target)],
    [rules],
  ]);
  return [heading(2, ['Queries on both stores']), table(['Query', 'On the source', 'On the target', 'Must be equal'], rows)];
}

/** In one place what a reviewer must not miss. */
function layoutAttention(plan: PlanDocument): Block[] {
  const columns = plan.tables.flatMap((one) => one.columns.map((column) => ({ one, column })));
  const losses = columns.filter(({ column }) => column.lossy.length + column.irreversible.length > 0);
  const personal = [
    ...columns.flatMap(({ one, column }) =>
      column.personal === undefined
        ? []
        : [[[code(`${one.to}.${column.target}`)], [sourceNames(column)], [column.personal.kind], treatment(column.personal)]],
    ),
    ...plan.tables.flatMap((one) =>
      one.dropped.flatMap((drop) =>
        drop.personal === undefined ? [] : [[[], [`${one.from}.${drop.column}`], [drop.personal], ['not moved']]],
      ),
    ),
  ];
  return [
    heading(2, ['To be read before signing']),
    ...titled('Lossy or irreversible columns', losses.length === 0, () =>
      table(
        ['Target column', 'From', 'Lossy', 'Irreversible'],
        losses.map(({ one, column }) => [
          [code(`${one.to}.${column.target}`)],
          [sourceNames(column)],
          [column.lossy.join('; ')],
          [column.irreversible.join('; ')],
        ]),
      ),
    ),
    ...titled('Columns that look like personal data', personal.length === 0, () =>
      table(['Target column', 'From', 'Looks like', 'What is done'], personal),
    ),
    ...titled('Warnings', plan.warnings.length === 0, () => ({
      kind: 'list',
      items: plan.warnings.map(({ code: number, message, remedy }) => [code(number), ` ${message}. ${remedy}`]),
    })),
  ];
}

function titled(title: string, isEmpty: boolean, block: () => Block): Block[] {
  return [heading(3, [title]), isEmpty ? text(['None.']) : block()];
}

function layoutTable(one: PlanTable): Block[] {
  const partitions = one.partitions === 0 ? '' : `, ${count(one.partitions, 'partition')}`;
  return [
    heading(3, [code(one.from), ' → ', code(one.to)]),
    text([`About ${figure(one.rows)} rows, ${bytes(one.bytes)}${partitions}.`]),
    { kind: 'list', items: [keyLine(one), filterLine(one), ...sharingLines(one), ...policyLines(one)] },
    table(
      ['Target column', 'Type', 'From', 'Type there', 'Conversion', 'Marks'],
      one.columns.map((column) => [
        [code(column.target)],
        [code(column.type)],
        [sourceNames(column)],
        column.from.length === 0 ? [] : [code([...new Set(column.from.map(({ type }) => type))].join(', '))],
        [column.conversion.join('; then ')],
        columnMarks(column),
      ]),
    ),
    ...listed('Source columns that are not moved:', one.dropped.map(dropLine)),
    ...listed(
      'Source columns that go to other targets:',
      one.elsewhere.map(({ column, type, to }) => [code(column), ` (${type}): to `, code(to.join(', '))]),
    ),
    ...listed(
      `Target columns that nothing goes to${one.sharing === undefined ? '' : ' from here'}:`,
      one.unfed.map(({ column, type, becomes }) => [code(column), ` (${type}): ${becomes}`]),
    ),
    ...layoutReverse(one),
  ];
}

function layoutReverse({ reverse }: PlanTable): Block[] {
  if (reverse === undefined) return [];
  if (reverse === 'none')
    return [text(['Way back: none. What is written on the target does not go back to the source, as the file says.'])];
  return [
    text(['Way back, as far as the file declares it (the rest follows from the mapping):']),
    table(
      ['Source column', 'Type', 'From the target', 'Type there', 'Conversion'],
      reverse.map((made) => [
        [code(made.column)],
        [code(made.type)],
        [sourceNames(made)],
        made.from.length === 0 ? [] : [code([...new Set(made.from.map(({ type }) => type))].join(', '))],
        [made.conversion.join('; then ')],
      ]),
    ),
  ];
}

function keyLine({ key }: PlanTable): Line {
  if (key.source.length === 0) return ['Key: none. Rows are told apart by all their columns.'];
  const same = key.source.join() === key.target.join();
  return [
    'Key: ',
    code(key.source.join(', ')),
    ...(same ? [] : [' → ', code(key.target.join(', '))]),
    `, kept. The stream tells rows apart by ${key.identity}.`,
    ...(key.primary.length === 0 ? [] : [" The target's own primary key is ", code(key.primary.join(', ')), '.']),
  ];
}

function filterLine({ filter }: PlanTable): Line {
  return filter.length === 0 ? ['Rows: all.'] : [`Rows: only those where ${filter.join(', and ')}.`];
}

function sharingLines({ sharing, to }: PlanTable): Line[] {
  return sharing === undefined ? [] : [['Shared: in ', code(to), `, ${sharing}.`]];
}

const EXISTING = {
  refuse: 'the start is refused',
  merge: 'they stay, and rows of the source are written over those of the same key',
  truncate: 'they are removed first',
} as const;

function policyLines({ policies, redis }: PlanTable): Line[] {
  const { existing, deletes, truncates, onRowError, unmapped, conflict } = policies;
  return [
    [`Rows that are on the target already: ${EXISTING[existing]} (`, code(`existing: ${existing}`), ').'],
    [`A row that the source deletes: ${deletes}. A TRUNCATE of the source: ${truncates}.`],
    [
      `A row that cannot be mapped or applied: ${onRowError === 'halt' ? 'the table halts' : 'it is set aside, and its key waits'} (`,
      code(`onRowError: ${onRowError}`),
      ').',
    ],
    [
      `A column added to the source later: ${unmapped === 'error' ? 'the table halts' : 'it is left out'} (`,
      code(`unmapped: ${unmapped}`),
      ').',
    ],
    ...(conflict === undefined
      ? []
      : [[`A row that the application wrote on the target otherwise: ${conflict} (`, code('conflict'), ').']]),
    ...(redis === undefined ? [] : [redisLine(redis)]),
  ];
}

function redisLine({ key, form, ttlSeconds, sets }: NonNullable<PlanTable['redis']>): Line {
  const expiry = ttlSeconds === null ? '' : `, expires ${ttlSeconds} s after its last change`;
  return ['In Redis: key ', code(key), `, as ${form}${expiry}`, ...(sets.length === 0 ? [] : ['; sets ', code(sets.join(', '))])];
}

function dropLine({ column, type, why, personal }: PlanDrop): Line {
  return [code(column), ` (${type}): ${why}${personal === undefined ? '' : `; looks like personal data: ${personal}`}`];
}

function sourceNames({ from }: Pick<PlanColumn, 'from'>): Inline {
  return from.length === 0 ? '–' : { code: from.map(({ column }) => column).join(', ') };
}

function columnMarks({ lossy, irreversible, personal }: PlanColumn): Line {
  const marks: Line[] = [
    ...(lossy.length === 0 ? [] : [[{ strong: 'lossy' }, `: ${lossy.join('; ')}`]]),
    ...(irreversible.length === 0 ? [] : [[{ strong: 'irreversible' }, `: ${irreversible.join('; ')}`]]),
    ...(personal === undefined ? [] : [[{ strong: 'personal data?' }, ` ${personal.kind}: `, ...treatment(personal)]]),
  ];
  return marks.flatMap((mark, i) => (i === 0 ? mark : ['. ', ...mark]));
}

function treatment({ treatment: words, inClear }: NonNullable<PlanColumn['personal']>): Line {
  return inClear ? [{ strong: words }] : [words];
}

function marksOf({ columns, dropped, filter }: PlanTable): string {
  const marks = [
    [columns.filter(({ lossy }) => lossy.length > 0).length, 'lossy'],
    [columns.filter(({ irreversible }) => irreversible.length > 0).length, 'irreversible'],
    [columns.filter(({ personal }) => personal !== undefined).length, 'personal?'],
    [dropped.length, 'not moved'],
  ] as const;
  return [...marks.filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`), ...(filter.length > 0 ? ['filtered'] : [])].join(', ');
}
