/**
 * `triggers`: what the rollback triggers of the file would say now, and a rehearsal of one. Guarantee: makes no rollback; a rehearsal looks at the real feed and leaves
 * a record in the audit trail that says that it was one.
 */
import { hostname } from 'node:os';
import { noteAudit } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { warningFinding } from '#schemas/finding.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { judge } from '#schemas/triggers/evaluate.ts';
import { FIRED_EVENT, type Situation } from '#schemas/triggers/situation.ts';
import type { Sample, Trigger, TriggerVerdict } from '#schemas/triggers/trigger.ts';
import { look, pastSamples, type ReportedMinute, reportSamples } from '#services/triggers/feeds.ts';
import type { TriggerPorts } from '#services/triggers/trigger-watch.ts';
import { triggerPorts } from '#services/up/triggers.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadTarget, targetOption } from './migration-input.ts';
import { renderTable } from './render.ts';

export const triggersCommand: CommandSpec = {
  name: 'triggers',
  about: 'Tell what the rollback triggers see now; or rehearse one, without a rollback.',
  examples: [
    ['crossfade triggers', 'each with its value, its limit, and whether it is armed'],
    ['crossfade triggers --rehearse errors', 'look at its feed now, say what it would do, and record that'],
  ],
  configure: (command) => {
    targetOption(command);
    command.option('--rehearse <name>', 'a trigger of the file');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { file } = await loadTarget(context);
  const triggers = file.triggers ?? [];
  const named = context.options.text('rehearse');
  if (named !== undefined) return rehearse(file, triggerNamed(triggers, named), context);
  if (triggers.length === 0) return { summary: 'the file has no triggers', result: { name: file.name, armed: false, triggers: [] } };
  const ports = portsOf(file);
  const situation = await ports.situation();
  const seen = await Promise.all(triggers.map(async (trigger) => ({ trigger, ...(await see(trigger, ports, situation)) })));
  return {
    summary:
      situation === undefined
        ? `${triggers.length} triggers, not armed: the target is not being observed`
        : `${triggers.length} triggers, armed since the flip of epoch ${situation.epoch}`,
    result: {
      name: file.name,
      armed: situation !== undefined,
      triggers: seen.map(({ trigger, verdict, now }) => ({
        ...trigger,
        now: now ?? null,
        verdict: verdict ?? null,
        fired: situation?.fired.has(trigger.name) ?? false,
      })),
    },
    text: renderTable(
      ['trigger', 'action', 'feed', 'now', 'says'],
      seen.map(({ trigger, verdict, now }) => [
        trigger.name,
        trigger.action,
        trigger.feed.kind,
        now === undefined ? '–' : now.toPrecision(3),
        situation?.fired.has(trigger.name) === true ? 'has fired' : (verdict?.evidence ?? 'not armed'),
      ]),
    ),
  };
}

function triggerNamed(triggers: readonly Trigger[], name: string): Trigger {
  const found = triggers.find((one) => one.name === name);
  if (found !== undefined) return found;
  const names = triggers.map((one) => one.name);
  throw new PipelineError('CF-1007', `the file has no trigger ${name}${didYouMean(name, names)}`, {
    remedy: names.length === 0 ? 'Write one under triggers: in the file.' : `It has: ${names.join(', ')}.`,
  });
}

/** Reports come to the instance: from here they are seen as their records tell. */
function portsOf(file: MigrationFile): TriggerPorts {
  return triggerPorts({
    file,
    actor: `crossfade triggers on ${hostname()}`,
    reports: () => [],
    startRollback: async () => Promise.resolve(),
  });
}

interface Seen {
  readonly now: number | undefined;
  readonly verdict: TriggerVerdict | undefined;
}

async function see(
  trigger: Trigger,
  ports: TriggerPorts,
  situation: Situation | undefined,
  minutes: readonly ReportedMinute[] = [],
): Promise<Seen> {
  const nowMs = ports.nowMs();
  const sample = await look(trigger, ports, nowMs);
  const now = sample === undefined ? undefined : sample.sum / sample.count;
  if (situation === undefined) return { now, verdict: undefined };
  const { flippedAtMs, baselines } = situation;
  const samples: Sample[] =
    trigger.feed.kind === 'reports'
      ? reportSamples(trigger, minutes, { flippedAtMs, nowMs })
      : [...(await pastSamples(trigger, ports, flippedAtMs)), ...(sample === undefined ? [] : [sample])];
  // From one look nothing can be said of a window but what it says by itself.
  const verdict = judge(trigger.feed.kind === 'reports' ? trigger : { ...trigger, atLeast: 1 }, {
    samples,
    flippedAtMs,
    nowMs,
    baseline: baselines?.[trigger.name],
  });
  return { now, verdict };
}

async function rehearse(file: MigrationFile, trigger: Trigger, context: CommandContext): Promise<Outcome> {
  const { now } = await see(trigger, portsOf(file), undefined);
  const seen =
    trigger.feed.kind === 'reports'
      ? 'applications report to the instance'
      : now === undefined
        ? 'its feed gave no number'
        : `its feed says ${now.toPrecision(3)}`;
  const would = trigger.action === 'rollback' ? 'a rollback would begin' : 'it would be told in status, log and audit';
  const evidence = `rehearsal: ${seen}; fired, ${would}`;
  await noteAudit(postgresTarget(file, 'triggers'), file.name, {
    actor: `crossfade triggers on ${hostname()}`,
    event: FIRED_EVENT,
    details: { trigger: trigger.name, rehearsed: true, action: trigger.action, evidence },
  });
  context.log.warn({ trigger: trigger.name, action: trigger.action }, 'Rehearsal: a rollback trigger has fired');
  const isBlind = trigger.feed.kind !== 'reports' && now === undefined;
  return {
    summary: `${trigger.name}: ${evidence}`,
    result: { name: file.name, trigger: trigger.name, action: trigger.action, now: now ?? null, rehearsed: true },
    findings: isBlind
      ? [
          warningFinding(
            'CF-8503',
            `trigger ${trigger.name} sees nothing: its feed gave no number`,
            'Ask the address in the file by hand: it must answer with one number.',
          ),
        ]
      : [],
  };
}
