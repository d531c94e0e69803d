/** `report`: what became of a migration, as a document. Guarantee: changes nothing, and can be written at any moment, long after the end too. */
import { renderHtml, renderMarkdown } from '#schemas/document/render-document.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { warningFinding } from '#schemas/finding.ts';
import { layoutReport } from '#schemas/report/layout-report.ts';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { eachTarget } from './each-target.ts';
import { loadTargets, targetOption } from './migration-input.ts';
import { readReport } from './report/read-report.ts';
import { type DocumentFormat, FORMATS, formatOf, writeDocument } from './write-document.ts';

export const reportCommand: CommandSpec = {
  name: 'report',
  about: 'Print what became of the migration: what moved, the evidence, approvals, incidents, and what is left. Changes nothing.',
  examples: [
    ['crossfade report', 'as Markdown'],
    ['crossfade report --format html --out report.html', 'one file for the browser, the printer or the change ticket'],
    ['crossfade report --count', 'with the rows of both sides counted now: reads every table'],
  ],
  configure: (command) => {
    targetOption(command);
    command
      .option('--format <format>', `${FORMATS.join(', ')} (default: markdown)`)
      .option('--out <file>', 'where to write (default: stdout)')
      .option('--count', 'count the rows of both sides now, instead of the estimates of the servers');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { options } = context;
  const format = formatOf(context);
  const { targets, dataDir } = await loadTargets(context);
  if (targets.length > 1 && format !== 'markdown') throw new PipelineError('CF-1007', `--format ${format} is of one target: give --target`);
  const written = await eachTarget(targets, async (file) => {
    const report = await readReport(file, { dataDir, count: options.flag('count') });
    return { summary: '', result: report, text: render(report, format), findings: brokenTrail(report) };
  });
  const out = options.text('out');
  // A document on stdout stands alone: it tells of the trail itself.
  if (out === undefined) return context.common.json ? written : { ...written, findings: [] };
  await writeDocument(context, out, written.text ?? '');
  return { ...written, text: '', summary: `${out} is written` };
}

function brokenTrail({ name, audit }: ReportDocument): Finding[] {
  return audit.ok ? [] : [warningFinding('CF-8006', `the audit trail of ${name} does not hold: ${audit.why}`)];
}

function render(report: ReportDocument, format: DocumentFormat): string {
  if (format === 'json') return `${JSON.stringify(report, null, 2)}\n`;
  const blocks = layoutReport(report);
  return format === 'html' ? renderHtml(`Migration report: ${report.name}`, blocks) : renderMarkdown(blocks);
}
