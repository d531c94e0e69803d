/** Frames that a reader appends, one random transaction after another. Guarantee: each says what the sink has to see of it. */
import { encodeChunkHeader, encodeJsonFrame, FRAME, type ChunkRowsHeader } from '#schemas/frame/frame.ts';
import { copyLine } from '#schemas/value/copy-text.ts';
import { begin, commit, ourMessage, truncate } from '#test/support/frames.ts';
import {
  chunkColumns,
  expected,
  frameOf,
  passes,
  randomChange,
  randomRow,
  relationOf,
  TABLES,
  type Change,
  type Row,
} from '#test/support/gather-tables.ts';
import type { Random } from '#test/support/random.ts';

export interface PlannedFrame {
  /** As the reader appends it. */
  readonly whole: Buffer;
  /** What stands in the skeleton, unless it is a row. */
  readonly skeleton: Buffer;
  /** What the sink has to see; undefined when the filter takes it. */
  readonly seen: Buffer | undefined;
  readonly row?: { readonly table: number; readonly oid: number; readonly columns: readonly string[]; readonly change: Change };
  readonly chunk?: { readonly table: number; readonly columns: readonly string[]; readonly rows: readonly Row[] };
  readonly truncated?: number;
}

/** One reader's view of the stream: relations are told anew in each session. */
export class History {
  readonly #random: Random;
  /** Relation → shape, as told in this session. */
  readonly #told = new Map<number, number>();
  #lsn = 0n;

  constructor(random: Random) {
    this.#random = random;
  }

  session(epoch: number): PlannedFrame[] {
    this.#told.clear();
    return [plain(encodeJsonFrame(FRAME.epoch, { epoch, systemId: '1', timeline: 1 }))];
  }

  transaction(): PlannedFrame[] {
    const random = this.#random;
    const [first, end] = [(this.#lsn += 16n), (this.#lsn += 16n)];
    const body: PlannedFrame[] = [];
    const size = random.chance(0.1) ? random.between(20, 60) : random.between(0, 6);
    for (let i = 0; i < size; i++) body.push(...this.#part());
    if (random.chance(0.2)) body.push(...this.#chunk());
    const whole = [plain(begin(first)), ...body, plain(commit(first, end))];
    if (!random.chance(0.15)) return whole;
    const { schema, name } = TABLES[random.between(0, TABLES.length - 1)]!.mapping.from;
    return [...whole, plain(encodeJsonFrame(FRAME.tableState, { schema, table: name, state: 'following' }))];
  }

  #part(): PlannedFrame[] {
    const random = this.#random;
    if (random.chance(0.05)) return [plain(ourMessage({ kind: 'heartbeat', name: 'm', id: String(random.between(0, 99)) }))];
    const index = random.between(0, TABLES.length - 1);
    const table = TABLES[index]!;
    if (random.chance(0.04)) return [{ ...plain(truncate(table.oids)), truncated: index }];
    const oid = table.oids[random.between(0, table.oids.length - 1)]!;
    const frames: PlannedFrame[] = [];
    const known = this.#told.get(oid);
    if (known === undefined || random.chance(0.03)) {
      const shape = random.between(0, table.shapes.length - 1);
      this.#told.set(oid, shape);
      frames.push(plain(relationOf(table, oid, table.shapes[shape]!)));
    }
    const columns = table.shapes[this.#told.get(oid)!]!;
    const change = randomChange(random, table);
    const row = { table: index, oid, columns, change };
    const whole = frameOf(oid, change, columns);
    return [...frames, { whole, skeleton: whole, seen: expected(table, oid, change), row }];
  }

  #chunk(): PlannedFrame[] {
    const random = this.#random;
    const index = random.between(0, TABLES.length - 1);
    const table = TABLES[index]!;
    const columns = chunkColumns(table);
    const rows = Array.from({ length: random.between(0, 8) }, () => randomRow(random, table));
    const { schema, name } = table.mapping.from;
    const header: ChunkRowsHeader = {
      chunk: `c${random.between(0, 99)}`,
      schema,
      table: name,
      columns,
      rows: rows.length,
      truncate: random.chance(0.2),
      recopy: random.chance(0.2),
      last: true,
    };
    const moved = rows.filter((row) => passes(table, row));
    const mapped = table.mapping.columns.map(({ source }) => source.name);
    const head = encodeChunkHeader(header);
    const seenHead = encodeChunkHeader({ ...header, columns: mapped, rows: moved.length });
    return [
      {
        whole: Buffer.concat([head, lines(rows, columns)]),
        skeleton: head,
        seen: Buffer.concat([seenHead, lines(moved, mapped)]),
        chunk: { table: index, columns, rows },
      },
    ];
  }
}

function lines(rows: readonly Row[], columns: readonly string[]): Buffer {
  return Buffer.from(rows.map((row) => copyLine(columns.map((column) => row[column] ?? null))).join(''), 'utf8');
}

function plain(frame: Buffer): PlannedFrame {
  return { whole: frame, skeleton: frame, seen: frame };
}
