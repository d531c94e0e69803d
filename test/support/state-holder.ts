/** A process that holds the lease on a migration's state, and changes the state when it is told to. For tests that strike it. */
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import { type Failpoint, installTestHooks } from '#schemas/test-hooks.ts';

const [url, name, leaseMs] = process.argv.slice(2);
const say = (text: string): void => void process.send!(text);

installTestHooks({
  ...(process.env['STRIKE'] !== undefined && {
    onFailpoint: (point: Failpoint) => {
      if (point === process.env['STRIKE']) process.kill(process.pid, 'SIGKILL');
    },
  }),
  disabledGuards: (process.env['DISABLE'] ?? '').split(','),
});

const lease = await takeMigrationLease({ url: url!, name: name!, holder: `holder ${process.pid}`, leaseMs: Number(leaseMs) });
lease.lost.addEventListener('abort', () => say('lost'));
process.on('message', (event: MigrationEvent) => {
  lease.apply(event, { actor: 'holder' }).then(
    (row) => say(`is ${row.state}`),
    (error: unknown) => say(`refused ${(error as { code?: string }).code}`),
  );
});
say('holds');
