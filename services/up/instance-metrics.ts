/** Metrics of the running instance. Guarantee: each is read at the scrape, so none is stale; unknown is absent, never zero. */
import type { Meter } from '#services/runtime/metrics.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { StatusResult, TargetStatus } from '#schemas/status/status-result.ts';
import type { ReaderStatus } from '#services/reader/reader.ts';
import type { SinkStatus } from '#services/sink/sink.ts';

export interface Measured {
  readonly reader: { status(): ReaderStatus };
  readonly sink: { status(): Pick<SinkStatus, 'connected'> };
  /** Undefined: not on this machine's disk. */
  readonly raw: { size(): number | undefined };
}

export function registerMetrics(meter: Meter, status: () => StatusResult, { reader, raw, sink }: Measured): void {
  registerStatusMetrics(meter, status);
  meter.gauge({ name: 'slot_retained_bytes', help: 'WAL that the slot holds on the source.' }, () =>
    known(reader.status().slot?.retainedBytes),
  );
  meter.gauge({ name: 'slot_safe_wal_bytes', help: 'WAL that may be written before the slot is lost.' }, () =>
    known(reader.status().slot?.safeWalBytes),
  );
  meter.gauge({ name: 'source_connected', help: '1 while the stream from the source is open.' }, () => Number(reader.status().connected));
  meter.gauge({ name: 'target_connected', help: '1 while the sink holds the target.' }, () => Number(sink.status().connected));
  meter.gauge(
    { name: 'restarts', help: 'Times that the stream was started again since this instance started.' },
    () => reader.status().restarts,
  );
  meter.gauge({ name: 'log_bytes', help: 'Bytes of the raw log on disk.' }, () => raw.size());
  meter.gauge({ name: 'reverse_connected', help: '1 while the way back stands; absent: it is not wanted.' }, () => {
    const { reverse } = status();
    return reverse === undefined ? undefined : Number(reverse.connected);
  });
  meter.gauge({ name: 'reverse_lag_bytes', help: 'WAL of the target that the source does not show yet.' }, () =>
    known(status().reverse?.lagBytes),
  );
  meter.labelled(
    { name: 'trigger_fired', help: '1 once a rollback trigger has fired since the cut-over.', labels: ['trigger', 'action'] },
    () => (status().triggers ?? []).map(({ name, action, hasFired }) => ({ labels: { trigger: name, action }, value: Number(hasFired) })),
  );
  meter.labelled({ name: 'trigger_blind', help: '1 while a rollback trigger sees too little to say anything.', labels: ['trigger'] }, () =>
    (status().triggers ?? []).map(({ name, state }) => ({ labels: { trigger: name }, value: Number(state === 'unknown') })),
  );
  meter.gauge({ name: 'rows_copied', help: 'Rows copied from chunks.' }, () => sum(status(), 'rowsCopied'));
  meter.gauge({ name: 'changes_applied', help: 'Row changes applied.' }, () => sum(status(), 'changesApplied'));
  meter.labelled(
    { name: 'conflicts', help: 'Rows that others had written otherwise, by kind and who won.', labels: ['table', 'kind', 'winner'] },
    () =>
      status().tables.flatMap(({ from, conflicts = {} }) =>
        Object.entries(conflicts).map(([name, value]) => {
          const [kind, winner] = name.split('/') as [string, string];
          return { labels: { table: from, kind, winner }, value };
        }),
      ),
  );
}

/** What an operator looks at first, from whoever has the status. `status`: undefined while it is not known. */
export function registerStatusMetrics(meter: Meter, status: () => StatusResult | undefined): void {
  meter.gauge({ name: 'lag_bytes', help: 'WAL between the source and the state that the target shows.' }, () => known(status()?.lag.bytes));
  meter.gauge({ name: 'lag_seconds', help: 'Age of the state that the target shows, by the source’s commit times.' }, () =>
    known(status()?.lag.seconds),
  );
  meter.gauge({ name: 'drift_rows', help: 'Rows that the last comparison found different.' }, () => known(status()?.drift));
  registerReconciliationMetrics(meter, () => status()?.reconciliation);
  registerMirrorMetrics(meter, () => status()?.reconciliation);
  meter.gauge({ name: 'copy_paused', help: '1 while an operator’s pause stands.' }, () => {
    const paused = status()?.copy.paused ?? undefined;
    return paused === undefined ? undefined : Number(paused);
  });
  meter.gauge(
    { name: 'tables_held', help: 'Tables that are held.' },
    () => status()?.tables.filter((table) => table.phase === 'held').length,
  );
  meter.gauge({ name: 'dead_letters', help: 'Keys that are blocked because a row was set aside.' }, () => status()?.deadLetters);
}

function registerReconciliationMetrics(meter: Meter, read: () => StatusResult['reconciliation']): void {
  meter.gauge({ name: 'proved_ratio', help: 'Share of the rows that the last comparison of their part found equal.' }, () =>
    known(read()?.proved),
  );
  meter.gauge({ name: 'oldest_proof_age_seconds', help: 'Since the part that was proved longest ago was.' }, () => {
    const since = read()?.provedSince ?? undefined;
    return since === undefined ? undefined : (Date.now() - Date.parse(since)) / 1000;
  });
  meter.gauge({ name: 'comparisons', help: 'Rounds of comparison since this instance started.' }, () => read()?.comparisons);
  meter.gauge(
    { name: 'inconclusive_parts', help: 'Tables or ranges that the last comparison could not judge.' },
    () => read()?.inconclusive,
  );
  meter.labelled({ name: 'differing_rows', help: 'Rows that differ, by state of the finding.', labels: ['state'] }, () => {
    const now = read();
    if (now === undefined) return [];
    return (['suspected', 'confirmed', 'repairing'] as const).map((state) => ({ labels: { state }, value: now[state] }));
  });
  registerCauses(meter, read);
  meter.labelled(
    { name: 'checks', help: 'Checks and shadow queries of the file, by what was last found.', labels: ['kind', 'verdict'] },
    () => {
      const { checks, queries } = read() ?? {};
      const made = { check: checks, query: queries };
      return (['check', 'query'] as const).flatMap((kind) =>
        made[kind] === undefined ? [] : VERDICTS.map((verdict) => ({ labels: { kind, verdict }, value: made[kind]![verdict] })),
      );
    },
  );
}

/** From whoever compares. */
export function registerCauses(
  meter: Meter,
  read: () => Partial<Pick<ReconciliationStatus, 'driftByCause' | 'inconclusiveByCause'>> | undefined,
): void {
  const counts = (causes: Readonly<Record<string, number>> = {}): { labels: { cause: string }; value: number }[] =>
    Object.entries(causes).map(([cause, value]) => ({ labels: { cause }, value }));
  meter.labelled(
    { name: 'drift_by_cause', help: 'Rows that differ, by what is known of why (held, foreign) or else by how.', labels: ['cause'] },
    () => counts(read()?.driftByCause),
  );
  meter.labelled(
    { name: 'inconclusive_by_cause', help: 'Tables or ranges that the last comparison could not judge, by why.', labels: ['cause'] },
    () => counts(read()?.inconclusiveByCause),
  );
}

function registerMirrorMetrics(meter: Meter, read: () => StatusResult['reconciliation']): void {
  meter.labelled(
    { name: 'stream_tables', help: 'Tables by what the mirror of the log was last found to be.', labels: ['equality', 'verdict'] },
    () => {
      const stream = read()?.stream;
      if (stream === undefined) return [];
      const both = { source_log: stream.sourceLog, log_target: stream.logTarget };
      return Object.entries(both).flatMap(([equality, found]) =>
        VERDICTS.map((verdict) => ({ labels: { equality, verdict }, value: found[verdict] })),
      );
    },
  );
}

const VERDICTS = ['equal', 'differs', 'inconclusive'] as const;

/** Of each of several targets. */
export function registerTargetMetrics(meter: Meter, status: () => StatusResult): void {
  const each = (name: string, help: string, read: (target: TargetStatus, status: StatusResult) => number | null): void =>
    meter.labelled({ name: `target_${name}`, help: `${help}, by target.`, labels: ['target'] }, () => {
      const now = status();
      return (now.targets ?? []).flatMap((target) => {
        const value = read(target, now);
        return value === null ? [] : [{ labels: { target: target.name }, value }];
      });
    });
  each('reachable', '1 while the sink holds the target', ({ connected }) => Number(connected === true));
  each('lag_bytes', 'WAL between the source and the state that the target shows', ({ lag }) => lag.bytes);
  each('lag_seconds', 'Age of the state that the target shows, by the source’s commit times', ({ lag }) => lag.seconds);
  each('drift_rows', 'Rows that the last comparison found different', ({ drift }) => drift);
  each('dead_letters', 'Keys that are blocked because a row was set aside', ({ deadLetters }) => deadLetters);
  each(
    'tables_held',
    'Tables that are held',
    ({ name }, { tables }) => tables.filter(({ target, phase }) => target === name && phase === 'held').length,
  );
}

function known(value: number | null | undefined): number | undefined {
  return value ?? undefined;
}

function sum(status: StatusResult, field: 'rowsCopied' | 'changesApplied'): number {
  return status.tables.reduce((total, table) => total + table[field], 0);
}
