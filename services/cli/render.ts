/** Human output. Guarantee: aligned plain text, figures with their unit, and nothing that a row held. */
import type { Finding } from '#schemas/errors.ts';
import type { Paint } from './paint.ts';

/** Columns padded to their widest cell; `right` names the columns that hold figures. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => visibleLength(row[i] ?? ''))));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const gap = ' '.repeat(Math.max(0, (widths[i] ?? 0) - visibleLength(cell)));
        return right.includes(i) ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)].map((text) => `${text}\n`).join('');
}

function visibleLength(text: string): number {
  // oxlint-disable-next-line no-control-regex -- colour codes take no room on the screen
  return text.replaceAll(/\u001b\[\d+m/g, '').length;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** Two figures at most: an estimate told to the second would pretend to be exact. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const [days, hours, minutes] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return `${minutes} min ${whole % 60} s`;
}

export function renderFindings(findings: readonly Finding[], paint: Paint): string {
  return findings.map((finding) => renderFinding(finding, paint)).join('');
}

function renderFinding(finding: Finding, paint: Paint): string {
  const colour = { error: paint.red, warning: paint.yellow, info: paint.dim }[finding.severity];
  const label = colour(finding.severity.padEnd(7));
  const place = finding.path === undefined ? '' : ` ${paint.dim(placeOf(finding))}`;
  return `${label} ${finding.code}${place}  ${finding.message}\n${indent(finding.remedy, `        ${paint.cyan('→')} `)}`;
}

export function placeOf(place: { readonly path?: string; readonly line?: number; readonly column?: number }): string {
  return [place.path, place.line, place.column].filter((part) => part !== undefined).join(':');
}

function indent(text: string, first: string): string {
  if (text === '') return '';
  const [head = '', ...more] = text.split('\n');
  return [`${first}${head}`, ...more.map((line) => `          ${line}`)].map((line) => `${line}\n`).join('');
}
