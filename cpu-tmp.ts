import { readFileSync } from 'node:fs';
import { connect } from '/work/main/connectors/postgres/session.ts';
import { bucketSums, tableProbe } from '/work/main/connectors/probe/postgres/table-scan.ts';
import { newDigestPlan } from '/work/main/connectors/probe/postgres/row-sql.ts';
import { readShapes } from '/work/main/connectors/probe/postgres/shape.ts';
const client = await connect('postgres://postgres@127.0.0.1:55818/postgres', { applicationName: 'x', role: 'source', settings: { jit: 'off', max_parallel_workers_per_gather: '0' } });
const pid = (client as unknown as { processID: number }).processID;
const cpu = () => { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' '); return (Number(f[11]) + Number(f[12])) / 100; };
const col = (name: string, type: string) => ({ target: name, targetType: type, targetBaseType: type, source: { name, type, baseType: type, builtin: true, typtype: 'b' } });
const mapping = { from: { schema: 'public', name: 't6' }, to: { schema: 'public', name: 't6' }, columns: [col('id', 'bigint'), col('name', 'text'), col('amount', 'numeric'), col('at', 'timestamp with time zone'), col('ok', 'boolean'), col('note', 'text')], sourceKey: ['id'], targetKey: ['id'] };
const [shape] = await readShapes(client, [mapping.from]);
for (const kind of ['record', 'portable', 'record', 'portable'] as const) for (const mask of [1023n, 8191n, 131071n]) {
  const before = cpu(); const t = performance.now();
  const sums = await bucketSums({ client, side: 'source', probe: tableProbe(mapping as never, () => true), shape: shape!, plan: newDigestPlan(kind), renew: async () => undefined }, mask);
  console.log(kind, mask, sums.size, 'cpu', (cpu() - before).toFixed(2), 's wall', Math.round(performance.now() - t));
}
await client.end();
