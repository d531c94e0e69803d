/**
 * A laid-out document as Markdown, or as one HTML file. Guarantee: whatever a table, column or value is called, it is shown and never read as
 * markup; the HTML needs nothing from elsewhere and runs nothing.
 */
import type { Block, Inline, Line } from './blocks.ts';

export function renderMarkdown(blocks: readonly Block[]): string {
  return `${blocks.map(markdownBlock).join('\n\n')}\n`;
}

function markdownBlock(block: Block): string {
  if (block.kind === 'heading') return `${'#'.repeat(block.level)} ${markdownLine(block.text)}`;
  if (block.kind === 'text') return markdownLine(block.text);
  if (block.kind === 'list') return block.items.map((item, i) => `${markdownMark(block.mark, i)} ${markdownLine(item)}`).join('\n');
  // Four blanks hold whatever stands in a line, backticks too.
  if (block.kind === 'commands') return block.lines.map((line) => `    ${oneLine(line)}`).join('\n');
  const rule = block.head.map((_, i) => (block.right?.includes(i) === true ? '--:' : '---'));
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  // Only here does a bar end anything, and there it does so even within code.
  const rows = block.rows.map((cells) => row(cells.map((cell) => markdownLine(cell).replaceAll('|', String.raw`\|`))));
  return [row(block.head), row(rule), ...rows].join('\n');
}

function markdownMark(mark: 'number' | 'check' | undefined, i: number): string {
  if (mark === undefined) return '-';
  return mark === 'number' ? `${i + 1}.` : '- [ ]';
}

function markdownLine(line: Line): string {
  return line.map(markdownInline).join('');
}

function markdownInline(inline: Inline): string {
  if (typeof inline === 'string') return escapeMarkdown(inline);
  if ('code' in inline) return markdownCode(inline.code);
  return `**${escapeMarkdown('strong' in inline ? inline.strong : inline.label)}**`;
}

/** Between more backticks than stand within. */
function markdownCode(text: string): string {
  if (text === '') return '';
  const plain = oneLine(text);
  const fence = '`'.repeat(Math.max(0, ...(plain.match(/`+/g) ?? []).map((run) => run.length)) + 1);
  const gap = fence.length > 1 || plain.startsWith('`') || plain.endsWith('`') ? ' ' : '';
  return `${fence}${gap}${plain}${gap}${fence}`;
}

function escapeMarkdown(text: string): string {
  return oneLine(text)
    .replaceAll(/[\\`*_[\]<>~]/g, String.raw`\$&`)
    .replaceAll('&', '&amp;');
}

function oneLine(text: string): string {
  return visible(text.replaceAll(/[\r\n\u0085\u2028\u2029]+/g, ' '));
}

/** Characters that are not seen, or that turn the order of others, would show another text than the one that is signed. */
function visible(text: string): string {
  return text.replaceAll(/(?![\r\n])[\p{Cc}\p{Cf}]/gu, (character) => String.raw`\u{${character.codePointAt(0)!.toString(16)}}`);
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1,h2,h3{line-height:1.2;margin:2em 0 .6em}h1{margin-top:0}h2{border-bottom:1px solid #d0d7de;padding-bottom:.2em}
table{border-collapse:collapse;margin:.6em 0 1.2em;width:100%}th,td{border:1px solid #d0d7de;padding:.3em .6em;text-align:left;vertical-align:top}
pre{background:#f6f8fa;border:1px solid #d0d7de;border-radius:4px;padding:.6em .8em;margin:.4em 0 1em;font:.87em/1.6 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}
ul.check{list-style:'\\2610\\00a0'}th{background:#f6f8fa}td.n{text-align:right;white-space:nowrap}code{font:.87em ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
.facts th{width:1%;white-space:nowrap;font-weight:600}time{white-space:nowrap}strong{color:#9a3412}
@media screen and (max-width:50rem){table:not(.facts){display:block;overflow-x:auto}table:not(.facts) code{overflow-wrap:normal}.facts th{white-space:normal;width:6em}}
@media print{body{max-width:none;margin:0;font-size:11px}h1,h2,h3{break-after:avoid}tr,pre{break-inside:avoid}thead{display:table-header-group}}
@media (prefers-color-scheme:dark){@media screen{body{color:#e6edf3;background:#0d1117}th,pre{background:#161b22}th,td,h2,pre{border-color:#30363d}strong{color:#f0883e}}}`;

export function renderHtml(title: string, blocks: readonly Block[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
${blocks.map(htmlBlock).join('\n')}
</body>
</html>
`;
}

function htmlBlock(block: Block): string {
  if (block.kind === 'heading') return `<h${block.level}>${htmlLine(block.text)}</h${block.level}>`;
  if (block.kind === 'text') return `<p>${htmlLine(block.text)}</p>`;
  if (block.kind === 'list') return htmlList(block);
  if (block.kind === 'commands') return `<pre>${block.lines.map((line) => escapeHtml(oneLine(line))).join('\n')}</pre>`;
  const titles = block.head.map((cell) => `<th scope="col">${escapeHtml(cell)}</th>`).join('');
  // Without titles the first column names what the second one tells.
  const isFacts = block.head.every((cell) => cell === '');
  const head = isFacts ? '' : `<thead><tr>${titles}</tr></thead>\n`;
  const cellOf = (cell: Line, i: number): string =>
    isFacts && i === 0
      ? `<th scope="row">${htmlLine(cell)}</th>`
      : `<td${block.right?.includes(i) === true ? ' class="n"' : ''}>${htmlLine(cell)}</td>`;
  return `<table${isFacts ? ' class="facts"' : ''}>\n${head}<tbody>\n${block.rows.map((cells) => `<tr>${cells.map(cellOf).join('')}</tr>`).join('\n')}\n</tbody></table>`;
}

function htmlList({ items, mark }: Extract<Block, { kind: 'list' }>): string {
  const [tag, attribute] = mark === 'number' ? ['ol', ''] : ['ul', mark === 'check' ? ' class="check"' : ''];
  return `<${tag}${attribute}>\n${items.map((item) => `<li>${htmlLine(item)}</li>`).join('\n')}\n</${tag}>`;
}

function htmlLine(line: Line): string {
  return line.map(htmlInline).join('');
}

function htmlInline(inline: Inline): string {
  // A moment is not broken over lines.
  if (typeof inline === 'string') return escapeHtml(inline).replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, '<time>$&</time>');
  if ('label' in inline) return `<b>${escapeHtml(inline.label)}</b>`;
  if ('strong' in inline) return `<strong>${escapeHtml(inline.strong)}</strong>`;
  return inline.code === '' ? '' : `<code>${escapeHtml(inline.code)}</code>`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return visible(text).replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);
}
