/** `schema`: the file's own steps of SQL on the target (`schemaSteps:`). Guarantee: nothing but these steps and their journal is changed. */
import { connect } from '#connectors/postgres/session.ts';
import { applySchemaSteps, readStepStates, rollBackSchemaSteps } from '#connectors/target/postgres/schema-steps.ts';
import type { SchemaStepEntry } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { wholeName } from '#schemas/config/wave-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadTarget, targetOption } from './migration-input.ts';
import { renderTable } from './render.ts';

const ACTIONS = ['status', 'apply', 'rollback'] as const;

export const schemaCommand: CommandSpec = {
  name: 'schema',
  about: "Run the file's own schema steps (schemaSteps:) on the target, or undo them.",
  examples: [
    ['crossfade schema status', 'which are done'],
    ['crossfade schema apply', 'those that are not, in order; when one fails, this run is undone'],
    ['crossfade schema rollback', 'undo all of them, in reverse order'],
  ],
  configure: (command) => {
    targetOption(command);
    command.argument('<action>', ACTIONS.join(' | '));
  },
  run,
};

interface Steps {
  readonly url: string;
  readonly name: string;
  readonly steps: readonly SchemaStepEntry[];
}

async function run(context: CommandContext): Promise<Outcome> {
  const action = ACTIONS.find((one) => one === context.args[0]);
  if (action === undefined)
    throw new PipelineError('CF-1007', `schema ${context.args[0] ?? ''}: there is no such action`, {
      remedy: `Say one of: ${ACTIONS.join(', ')}.`,
    });
  const { file } = await loadTarget(context);
  const all: Steps = { url: postgresTarget(file, `schema ${action}`), name: wholeName(file), steps: file.schemaSteps ?? [] };
  if (all.steps.length === 0) return { summary: 'the file has no schemaSteps', result: { steps: [] } };
  if (action === 'status') return status(all);
  return action === 'apply' ? apply(all) : rollBack(all);
}

async function status({ url, name, steps }: Steps): Promise<Outcome> {
  const client = await connect(url, { applicationName: 'crossfade schema', role: 'target' });
  try {
    const states = await readStepStates(client, name, steps);
    const rows = steps.map((step) => ({ name: step.name, state: states.get(step.name) ?? 'open' }));
    const text = renderTable(
      ['step', 'state'],
      rows.map((row) => [row.name, row.state]),
    );
    const done = rows.filter(({ state }) => state === 'done').length;
    return { summary: `${done} of ${rows.length} schema steps are done`, result: { steps: rows }, text };
  } finally {
    await client.end();
  }
}

async function apply({ url, name, steps }: Steps): Promise<Outcome> {
  const { done, kept } = await applySchemaSteps(url, name, steps);
  return { summary: `${done.length} schema steps are done, ${kept.length} were before`, result: { done, kept } };
}

async function rollBack({ url, name, steps }: Steps): Promise<Outcome> {
  const undone = await rollBackSchemaSteps(url, name, steps);
  return { summary: `${undone.length} schema steps are undone`, result: { undone } };
}
