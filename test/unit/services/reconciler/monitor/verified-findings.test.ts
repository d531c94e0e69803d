/** The life of a difference that whole comparisons find, and repairs that the audit trail tells of. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import { type DriftFinding, OPEN_STATES } from '#schemas/reconcile/drift-finding.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { isAskedIn, keyHash } from '#services/reconciler/monitor/asked-in-trail.ts';
import { type FindingsStore, VerifiedFindings } from '#services/reconciler/monitor/verified-findings.ts';
import { silentLogger } from '#services/runtime/service.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
afterEach(() => void vi.useRealTimers());

function resultOf(...ids: readonly string[]): VerifyResult {
  const sample = ids.map((id) => ({ key: { id }, sourceKey: [id], kind: 'different' as const, columns: ['v'] }));
  const counts = { rowsSource: 9, rowsTarget: 9, missing: 0, extra: 0, different: ids.length };
  const table = { from: 'public.a', to: 'new.a', ...counts, sample, lsn: '0/100' };
  return { at: { lsn: '0/100' }, tables: [table], differences: ids.length, inconclusive: 0 };
}

let records = 0;

function asked(atMs: number, ...requests: readonly object[]): AuditRecord {
  const chain = { seq: ++records, fromState: null, toState: null, prevHash: '', hash: '' };
  return { name: 'm', actor: 'Ada', event: 'repair-asked', at: new Date(atMs).toISOString(), details: { salt: 's', requests }, ...chain };
}

/** As the target's tables keep them: the last state of each. */
class Store implements FindingsStore {
  readonly kept = new Map<string, DriftFinding>();
  trailed: AuditRecord[] = [];
  refuses = false;

  async open(): Promise<DriftFinding[]> {
    return [...this.kept.values()].filter(({ state }) => OPEN_STATES.has(state));
  }

  async trail(): Promise<AuditRecord[]> {
    return this.trailed;
  }

  async save(findings: readonly DriftFinding[]): Promise<void> {
    if (this.refuses) throw new Error('permission denied');
    for (const one of findings) this.kept.set(one.id, one);
  }

  get states(): string[] {
    return [...this.kept.values()].map(({ key, steps }) => `${key!['id']}: ${steps.map(({ state }) => state).join(' ')}`);
  }
}

test('suspected, confirmed by another comparer, repairing by the trail, verified; what nobody asked for flapped', async () => {
  const store = new Store();
  const compare = async (...ids: readonly string[]): Promise<void> => {
    // Each is a comparer of its own, which knows what lies in the tables.
    await new VerifiedFindings(store, silentLogger).during(async () => resultOf(...ids));
    vi.setSystemTime(Date.now() + 60_000);
  };
  await compare('1', '2');
  await compare('1', '2');
  store.trailed = [asked(Date.now() - 1_000, { table: 'public.a', kind: 'keys', count: 1, keys: [keyHash('s', ['1'])] })];
  await compare('1', '2');
  expect(store.states).toEqual(['1: suspected confirmed repairing', '2: suspected confirmed']);
  await compare();
  expect(store.states).toEqual(['1: suspected confirmed repairing verified', '2: suspected confirmed flapped']);
});

test('what was asked for while a comparison ran has not flapped if that one no longer finds it: the next one verifies it', async () => {
  const store = new Store();
  const findings = new VerifiedFindings(store, silentLogger);
  const compare = async (during: () => void, ...ids: readonly string[]): Promise<void> => {
    await findings.during(async () => {
      vi.setSystemTime(Date.now() + 10_000);
      during();
      return resultOf(...ids);
    });
    vi.setSystemTime(Date.now() + 10_000);
  };
  const nothing = (): void => undefined;
  const ask = (id: string, atMs: number) => (): void =>
    void store.trailed.push(asked(atMs, { table: 'public.a', kind: 'keys', count: 1, keys: [keyHash('s', [id])] }));
  await compare(nothing, '1', '2');
  // While it is confirmed, by a clock that goes wrong: what the record's says is not this one's.
  await compare(ask('1', Date.now() - 3_600_000), '1', '2');
  await compare(ask('2', Date.now() + 3_600_000));
  expect(store.states).toEqual(['1: suspected repairing verified', '2: suspected confirmed repairing']);
  await compare(nothing);
  expect(store.states).toEqual(['1: suspected repairing verified', '2: suspected confirmed repairing verified']);
});

test('a repair that a comparer saw before it knew of the difference, because another one had found it, is not forgotten', async () => {
  const store = new Store();
  const [one, other] = [new VerifiedFindings(store, silentLogger), new VerifiedFindings(store, silentLogger)];
  await one.during(async () => {
    await other.during(async () => resultOf('1'));
    vi.setSystemTime(Date.now() + 10_000);
    store.trailed.push(asked(Date.now(), { table: 'public.a', kind: 'keys', count: 1, keys: [keyHash('s', ['1'])] }));
    vi.setSystemTime(Date.now() + 10_000);
    return resultOf();
  });
  await one.during(async () => resultOf());
  expect(store.states).toEqual(['1: suspected repairing verified']);
});

test('nothing ends while the trail cannot be read', async () => {
  const store = new Store();
  const findings = new VerifiedFindings(store, silentLogger);
  const compare = async (...ids: readonly string[]): Promise<void> => {
    await findings.during(async () => resultOf(...ids));
    vi.setSystemTime(Date.now() + 60_000);
  };
  await compare('1');
  const trail = vi.spyOn(store, 'trail').mockRejectedValue(new Error('permission denied'));
  await compare('2');
  expect(store.states).toEqual(['1: suspected', '2: suspected']);
  trail.mockRestore();
  await compare('2');
  expect(store.states).toEqual(['1: suspected flapped', '2: suspected confirmed']);
});

test('what was asked for before a process began is told by its time, and of a difference that came after it not at all', async () => {
  const store = new Store();
  store.trailed = [asked(Date.now() - 60_000, { table: 'public.a', kind: 'table' })];
  const compare = async (...ids: readonly string[]): Promise<void> => {
    await new VerifiedFindings(store, silentLogger).during(async () => resultOf(...ids));
    vi.setSystemTime(Date.now() + 60_000);
  };
  await compare('1');
  await compare();
  expect(store.states).toEqual(['1: suspected flapped']);
});

test('what cannot be written down is kept until it can, and changes no verdict', async () => {
  const store = new Store();
  store.refuses = true;
  const findings = new VerifiedFindings(store, silentLogger);
  expect(await findings.during(async () => resultOf('1'))).toEqual(resultOf('1'));
  expect(findings.open.map(({ state }) => state)).toEqual(['suspected']);
  store.refuses = false;
  await findings.during(async () => resultOf('1', '3'));
  expect([...store.kept.keys()]).toHaveLength(2);
});

test.each<readonly [string, object, boolean]>([
  ['its key', { table: 'public.a', kind: 'keys', count: 2, keys: [keyHash('s', ['7']), keyHash('s', ['1'])] }, true],
  ['another key', { table: 'public.a', kind: 'keys', count: 1, keys: [keyHash('s', ['7'])] }, false],
  ['more keys than stand there', { table: 'public.a', kind: 'keys', count: 5_000, keys: [keyHash('s', ['7'])] }, true],
  ['its table', { table: 'public.a', kind: 'table' }, true],
  ['a range', { table: 'public.a', kind: 'range', from: keyHash('s', ['1']) }, true],
  ['another table', { table: 'public.b', kind: 'table' }, false],
])('a finding was asked for where a record of the trail has %s', (_what, request, isAsked) => {
  const steps = [{ state: 'suspected', atMs: 1_000, lsn: '0/1' } as const];
  const base = { id: '1', from: 'public.a', to: 'new.a', key: { id: '1' }, sourceKey: ['1'], columns: [], rows: 1 };
  const finding: DriftFinding = { ...base, kind: 'missing', state: 'suspected', steps };
  expect(isAskedIn(asked(2_000, request), finding)).toBe(isAsked);
});
