/** The copy's chunks: rows lost, doubled, or laid over newer changes. */
import type { EventLog, LogChunk } from './event-log.ts';
import type { Fault } from './fault.ts';
import { chunkFrameOf } from './wire.ts';

/** A chunk of a table with rows of which the stream says nothing. */
function chunkOf(log: EventLog, table: string): LogChunk {
  return log.choose(
    `chunk of ${table}`,
    log.chunks.filter((chunk) => chunk.table === table && log.quietLines(chunk).length > 1),
  );
}

function withoutLine(name: string, which: (log: EventLog, chunk: LogChunk) => { readonly line: number; readonly key: string }): Fault {
  return {
    name,
    table: 'stock_old',
    tamper: (log) => {
      const chunk = chunkOf(log, 'stock_old');
      const { line, key } = which(log, chunk);
      log.rewriteChunk(chunk, chunk.lines.toSpliced(line, 1));
      return [`id=${key}`];
    },
  };
}

export const COPY_FAULTS: readonly Fault[] = [
  {
    name: 'a chunk of the copy is skipped',
    table: 'stock',
    tamper: (log) => {
      const chunk = chunkOf(log, 'stock');
      log.rewriteChunk(chunk, []);
      return log.quietLines(chunk).map(({ key }) => `id=${key}`);
    },
  },
  withoutLine('one row of a chunk is lost', (log, chunk) => log.choose('quiet row', log.quietLines(chunk))),
  withoutLine('the last row of a chunk is lost', (log, chunk) => log.quietLines(chunk).at(-1)!),
  {
    name: 'a chunk of a table without a key is copied twice',
    table: 'journal',
    tamper: (log) => {
      const chunk = log.choose(
        'chunk of journal',
        log.chunks.filter(({ table }) => table === 'journal'),
      );
      log.replace(chunk.at, log.frames[chunk.at]!, chunkFrameOf(chunk, { truncate: false }));
      return [];
    },
  },
  {
    name: 'rows of a chunk win over newer changes',
    table: 'stock',
    tamper: (log) => {
      const [chunk] = log.chunks.filter(({ table }) => table === 'stock');
      const { transaction } = log.events.at(-1)!;
      log.replace(transaction.end, chunkFrameOf(chunk!, { recopy: true, chunk: 'late' }), log.frames[transaction.end]!);
      return log
        .of('stock')
        .filter((event) => event.tag === 'D')
        .map(({ key }) => key)
        .filter((key) => chunk!.lines.some((line) => line.startsWith(`${key}\t`)))
        .map((key) => `id=${key}`);
    },
  },
  {
    name: 'the fields of a copied row are those of its neighbour',
    table: 'stock_old',
    tamper: (log) => {
      const chunk = chunkOf(log, 'stock_old');
      const [one, other] = log.quietLines(chunk);
      const fields = (line: number): string[] => chunk.lines[line]!.split('\t');
      const lines = chunk.lines.with(one!.line, [fields(one!.line)[0], ...fields(other!.line).slice(1)].join('\t'));
      log.rewriteChunk(chunk, lines);
      return [`id=${one!.key}`];
    },
  },
];
