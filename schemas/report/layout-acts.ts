/** Flips and drills, each with its certificate. */
import { type Block, code, duration, figure, heading, type Line, shortTime, table, text } from '../document/blocks.ts';
import { actName } from './incidents.ts';
import type { ReportedAct } from './acts.ts';

const OUTCOMES = {
  done: 'done',
  drilled: 'drilled: all but the decision',
  'backed-out': 'backed out, nothing changed',
  forced: 'overtaken by a forced rollback',
  'under way': 'no end recorded',
} as const;

export function layoutActs(acts: readonly ReportedAct[]): Block[] {
  const title = heading(2, ['Cut-overs and rollbacks']);
  if (acts.length === 0) return [title, text(['None was begun.'])];
  const withCertificate = acts.filter(({ outcome, marker }) => marker !== null && (outcome === 'done' || outcome === 'drilled'));
  return [
    title,
    table(
      ['Epoch', 'What', 'Begun', 'By', 'Came to', 'Writers waited'],
      acts.map((one) => [
        [one.epoch],
        [
          actName(one)
            .replace(/^The /, '')
            .replace(/ of epoch .*$/, ''),
        ],
        [shortTime(one.beganAt)],
        [one.by],
        one.outcome === 'done' || one.outcome === 'drilled' ? [OUTCOMES[one.outcome]] : [{ strong: OUTCOMES[one.outcome] }],
        [one.blockMs === null ? '–' : duration(one.blockMs)],
      ]),
      [5],
    ),
    ...withCertificate.flatMap(layoutCertificate),
  ];
}

function layoutCertificate(act: ReportedAct): Block[] {
  const { marker, before, compare, sequences, lockWaitMs, timings, gates } = act;
  const facts: (readonly Line[])[] = [
    [['Marker'], [code(marker!.id), ', applied at ', code(marker!.lsn)]],
    ...(before === null ? [] : [[['Compared before the fence'], [before]]]),
    ...(compare === null ? [] : [[['Compared behind the fence'], [compare]]]),
    ...(lockWaitMs === null ? [] : [[['Waited for the locks'], [duration(lockWaitMs)]]]),
    [['Sequences set ahead'], [sequences.length === 0 ? 'there are none' : figure(sequences.length)]],
    ...(timings.length === 0 ? [] : [[['Steps'], [timings.map(({ step, ms }) => `${step} ${duration(ms)}`).join(', ')]]]),
    ...(gates.length === 0
      ? []
      : [[['Gates'], [gates.map(({ gate, state }) => (state === 'open' ? gate : `${gate} (${state})`)).join(', ')]]]),
  ];
  return [
    heading(3, [`Certificate: ${actName(act).replace(/^The /, 'the ')}`]),
    table(['', ''], facts),
    ...(sequences.length === 0
      ? []
      : [
          table(
            ['Sequence', 'Would have given', 'Gives now'],
            sequences.map((one) => [[code(one.sequence)], [one.was], [one.set]]),
            [1, 2],
          ),
        ]),
  ];
}
