/**
 * One session on each side of an alignment, through which checks are asked one after the other. Guarantee: a check's tables are locked, and
 * unmoved since the snapshot, while it reads them; between two checks no lock is held.
 */
import type pg from 'pg';
import { aliveSql, softDeleteOf } from '#schemas/mapping/kept-rows.ts';
import { pairId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent } from '#schemas/table.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { compareKeyed, compareLists, type Compared, type List } from '#schemas/reconcile/checks/compare-answers.ts';
import {
  pairsOf,
  type CheckView,
  type OrphanCheck,
  type PlannedCheck,
  type QueryCheck,
  type QueryText,
  type ShadowCheck,
  type SqlCheck,
} from '#schemas/reconcile/checks/planned-check.ts';
import { orphanSql } from '#schemas/reconcile/checks/query-sql.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { type Answer, ask, countOrphans, type Question, typedColumns } from '#connectors/probe/postgres/checks/ask.ts';
import { mappedView, Parameters, tableView, type ViewTable } from '#connectors/probe/postgres/checks/view-sql.ts';
import type { Side } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import type { Scan } from '#connectors/probe/postgres/table-scan.ts';
import type { AlignedTable, Alignment } from '../align.ts';
import { lockUnmoved, TableMoved } from '../compare-table.ts';
import { evaluateShadow } from '../shadow/evaluate-shadow.ts';
import { overlaysOf, type Overlays } from './overlay.ts';

/** An answer with more rows is not compared. */
const ROWS_MAX = 100_000;

/** As which a time-out is reported. */
const QUERY_CANCELED = '57014';

/** Why a check could not be made. */
export class CheckFailed extends Error {
  override readonly name = 'CheckFailed';
  readonly reason: Inconclusive;

  constructor(reason: Inconclusive) {
    super(reason.message);
    this.reason = reason;
  }
}

type Outcome = Pick<CheckVerdict, 'verdict' | 'source' | 'target' | 'message' | 'cause'>;

export class Evaluation implements AsyncDisposable {
  readonly #alignment: Alignment;
  readonly #plan: DigestPlan;
  readonly #clients: Readonly<Record<Side, pg.Client>>;
  readonly #tables: ReadonlyMap<string, AlignedTable>;
  readonly #overlays = new Map<AlignedTable, Overlays>();

  private constructor(alignment: Alignment, plan: DigestPlan, clients: Readonly<Record<Side, pg.Client>>) {
    this.#alignment = alignment;
    this.#plan = plan;
    this.#clients = clients;
    this.#tables = new Map(alignment.tables.map((table) => [pairId(table.probe.mapping), table]));
  }

  static async open(alignment: Alignment, plan: DigestPlan): Promise<Evaluation> {
    const source = await alignment.source.session();
    try {
      return new Evaluation(alignment, plan, { source, target: await alignment.target.session() });
    } catch (error) {
      await source.end().catch(() => undefined);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#clients.source, this.#clients.target].map((client) => client.end().catch(() => undefined)));
  }

  /** @throws CheckFailed, or what a server says. */
  async evaluate(check: PlannedCheck): Promise<Outcome> {
    const tables = this.#alignedOf(pairsOf(check));
    await this.#enter(tables);
    if (check.kind === 'orphans') return this.#orphans(check, tables);
    for (const table of tables) await this.#overlay(table);
    if (check.kind === 'shadow') return this.#shadow(check, tables);
    return check.kind === 'sql' ? this.#sql(check, tables) : this.#query(check);
  }

  #alignedOf(pairs: readonly TableMapping[]): readonly AlignedTable[] {
    const ids = [...new Set(pairs.map((pair) => pairId(pair)))];
    return ids.map((id) => {
      const table = this.#tables.get(id);
      if (table === undefined) throw new CheckFailed(this.#refusal(id));
      if (table.changes.voided !== undefined) throw new CheckFailed(table.changes.voided);
      return table;
    });
  }

  #refusal(id: string): Inconclusive {
    for (const [{ mapping }, reason] of this.#alignment.refused) {
      if (pairId(mapping) === id) return { ...reason, message: `${mapping.to.schema}.${mapping.to.name}: ${reason.message}` };
    }
    return { cause: 'copying', message: 'a table of the check is not compared' };
  }

  /** Lets the last check's locks go. */
  async #enter(tables: readonly AlignedTable[]): Promise<void> {
    const side = async (which: Side): Promise<void> => {
      const client = this.#clients[which];
      await this.#alignment[which].enter(client);
      for (const table of tables) await lockUnmoved({ side: which, client, table, alignment: this.#alignment });
    };
    try {
      await Promise.all([side('source'), side('target')]);
    } catch (error) {
      if (error instanceof TableMoved) throw new CheckFailed({ cause: 'changed', message: error.message });
      throw error;
    }
  }

  async #overlay(table: AlignedTable): Promise<void> {
    if (this.#overlays.has(table)) return;
    const scan = (side: Side): Scan => ({
      client: this.#clients[side],
      side,
      probe: table.probe,
      shape: table[side],
      plan: this.#plan,
      renew: async () => undefined,
    });
    const overlays = await overlaysOf({ source: scan('source'), target: scan('target') }, table.changes);
    if ('cause' in overlays) throw new CheckFailed(overlays);
    this.#overlays.set(table, overlays);
  }

  #viewTables(pairs: readonly TableMapping[], side: Side): ViewTable[] {
    return this.#alignedOf(pairs).map((table) => ({
      probe: table.probe,
      side,
      shape: table[side],
      overlay: this.#overlays.get(table)?.[side],
    }));
  }

  async #askViews(views: readonly CheckView[], sql: (from: readonly string[]) => string): Promise<readonly [Answer, Answer]> {
    const one = async (side: Side): Promise<Answer> => {
      const parameters = new Parameters();
      const from = views.map(({ pairs, columns }) => mappedView(this.#viewTables(pairs, side), columns, parameters));
      return this.#ask(side, { sql: sql(from), values: parameters.values });
    };
    return Promise.all([one('source'), one('target')]);
  }

  async #ask(side: Side, question: Omit<Question, 'rowsMax'>): Promise<Answer> {
    const answer = await ask(this.#clients[side], { ...question, rowsMax: ROWS_MAX });
    if (answer.cut) throw new CheckFailed({ cause: 'volume', message: `the ${side}'s answer has more than ${ROWS_MAX} rows` });
    return answer;
  }

  async #query(check: QueryCheck): Promise<Outcome> {
    const [source, target] = await this.#askViews(check.views, check.sql);
    return outcomeOf(compareKeyed(check, source.rows, target.rows));
  }

  async #sql(check: SqlCheck, tables: readonly AlignedTable[]): Promise<Outcome> {
    const [source, target] = await this.#askBoth(check);
    const compared = compareLists(source, target, check);
    if (compared.equal) return outcomeOf(compared);
    // The state is the same one: who answers otherwise now (random(), now()) accuses nobody.
    await this.#enter(tables);
    const [here, there] = await this.#askBoth(check);
    if (compareLists(source, here, check).equal && compareLists(target, there, check).equal) return outcomeOf(compared);
    throw new CheckFailed({ cause: 'unreadable', message: 'the query gives another answer each time that it is asked of one state' });
  }

  async #askBoth({ source, target, expect, timeoutSeconds }: SqlCheck): Promise<readonly [List, List]> {
    await this.#limit(timeoutSeconds);
    const [here, there] = await Promise.all([
      source && this.#askWithin(timeoutSeconds, 'source', source),
      this.#askWithin(timeoutSeconds, 'target', target),
    ]);
    return [here ?? { rows: [[expect ?? null]], numeric: [there.numeric[0] ?? false], names: there.names }, there];
  }

  async #shadow(check: ShadowCheck, tables: readonly AlignedTable[]): Promise<Outcome> {
    const { timeoutSeconds } = check.timing;
    await this.#limit(timeoutSeconds);
    return evaluateShadow(check, {
      begin: async () => {
        await this.#enter(tables);
        await this.#limit(timeoutSeconds);
      },
      ask: async (...asked) => this.#askWithin(timeoutSeconds, ...asked),
      fail: (reason) => new CheckFailed(reason),
    });
  }

  /** Of the file's own queries, in this transaction: one that never ends would hold the snapshots, and keep rows from being compared. */
  async #limit(seconds: number): Promise<void> {
    const sql = `SET LOCAL statement_timeout = ${seconds * 1000}`;
    await Promise.all([this.#clients.source.query(sql), this.#clients.target.query(sql)]);
  }

  async #askWithin(seconds: number, ...asked: readonly [Side, QueryText, (readonly (string | null)[])?]): Promise<Answer> {
    const [side, text, values] = asked;
    try {
      return await this.#askText(side, text, values);
    } catch (error) {
      if ((error as { readonly code?: string }).code !== QUERY_CANCELED) throw error;
      throw new CheckFailed({ cause: 'unreadable', message: `the ${side} gave no answer within ${seconds} s (timeoutSeconds)` });
    }
  }

  /** Each table stands under its own name, so that a query may do without an alias. `values` are those of the query's own parameters. */
  async #askText(side: Side, { texts, tables }: QueryText, values: readonly (string | null)[] = []): Promise<Answer> {
    const parameters = new Parameters(values);
    const names = new Map<string, string>();
    const views: string[] = [];
    let sql = texts[0]!;
    for (const [i, pairs] of tables.entries()) {
      const { schema, name } = pairs[0]![side === 'source' ? 'from' : 'to'];
      const id = JSON.stringify([schema, name]);
      if (!names.has(id)) {
        const own = quoteIdent([...names.values()].includes(quoteIdent(name)) ? `${schema}.${name}` : name);
        const rows = this.#viewTables(pairs, side);
        const columns = await typedColumns(this.#clients[side], rows[0]!.shape.oid, columnNames(rows, side));
        views.push(`${own} AS ${tableView(rows, columns, parameters)}`);
        names.set(id, own);
      }
      sql += names.get(id)! + texts[i + 1]!;
    }
    return this.#ask(side, { sql, values: parameters.values, tables: views });
  }

  /** What the target shows is one source state, so its own count needs no correction; only what it has is held against the source. */
  async #orphans({ foreignKey, pairs, views }: OrphanCheck, tables: readonly AlignedTable[]): Promise<Outcome> {
    const soft = pairs.find(({ to }) => to.schema === foreignKey.child.schema && to.name === foreignKey.child.name);
    const alive = soft && softDeleteOf(soft);
    const where = alive === undefined ? [] : [aliveSql(alive, 'v.')];
    const found = await countOrphans(this.#clients.target, { ...foreignKey, where });
    if (found === 0) return { verdict: 'equal', source: null, target: '0', message: 'no row refers to one that is not there' };
    const told = `${found} ${found === 1 ? 'row refers to one' : 'rows refer to some'} that ${found === 1 ? 'is' : 'are'} not there`;
    if (views === undefined)
      throw new CheckFailed({ cause: 'unreadable', message: `${told}; whether the source has them too cannot be asked in SQL` });
    for (const table of tables) await this.#overlay(table);
    const width = foreignKey.columns.length;
    const [source, target] = await this.#askViews(views, ([child, parent]) => orphanSql(child!, parent!, width));
    const [here, there] = [source.rows[0]![0]!, target.rows[0]![0]!];
    if (here === there) return { verdict: 'equal', source: here, target: there, message: `${told}, at the source neither` };
    return { verdict: 'differs', source: here, target: there, message: told };
  }
}

function outcomeOf({ equal, source, target, message }: Compared): Outcome {
  return { verdict: equal ? 'equal' : 'differs', source, target, message };
}

function columnNames(views: readonly ViewTable[], side: Side): string[] {
  const names = views.flatMap(({ probe: { mapping, sourceColumns } }) => {
    if (side === 'source') return sourceColumns;
    const columns = mapping.columns.map(({ target }) => target);
    const { explode } = mapping;
    if (explode === undefined) return columns;
    return [...columns.slice(0, -1), ...explode.parts.map(({ target }) => target), ...(explode.ordinal ? [explode.ordinal.target] : [])];
  });
  return [...new Set(names)];
}
