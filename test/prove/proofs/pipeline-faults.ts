/** Does the reconciler see what a broken pipeline does? */
import { verifyMigration } from '#services/reconciler/verify.ts';
import { seeded } from '#test/support/random.ts';
import { FAULTS } from '../faults/all.ts';
import type { Fault } from '../faults/fault.ts';
import { runFaults, shown } from '../faults/run.ts';
import type { Proof } from '../proof.ts';

/** As many as are asked for, and more. */
const LEAST = 30;
const SAMPLED = 7;

const faultsProof: Proof = {
  name: 'pipeline-faults',
  claim:
    'each of the faults put into the pipeline on purpose (more than 30 that change the target) is found by verify alone, which names the table, the keys and the columns',
  expectedSeconds: 200,
  run: async ({ size, seed, say }) => {
    const faults = size === 'full' ? FAULTS : sample(FAULTS, seed);
    say(`seed ${seed}`);
    const caught = await runFaults({ faults, seed, say });
    if (size === 'full' && caught.length < LEAST) throw new Error(`only ${caught.length} faults change anything`);
    return {
      seed,
      'faults caught': caught.length,
      'of these by other rules than the file gives': faults.filter(({ tables }) => tables !== undefined).length,
      'shown to change nothing': faults.length - caught.length,
      ...Object.fromEntries(caught.map(({ fault, damage }) => [fault, shown(damage)])),
    };
  },
};

const SEEN = 'an insert is doubled in a table without a key';
const UNSEEN = 'an update is dropped';

/** With a checker that leaves tables out, what is done to those must be told as missed, and what is done to the others as caught. */
const faultsRedProof: Proof = {
  name: 'pipeline-faults-red',
  claim: 'a checker that does not look at a table is seen to miss the fault in it',
  expectedSeconds: 20,
  run: async ({ seed, say }) => {
    const faults = FAULTS.filter(({ name }) => name === SEEN || name === UNSEEN);
    const told = await runFaults({
      faults,
      seed,
      say,
      check: async (options) => verifyMigration({ ...options, tables: ({ to }) => to.name === 'journal' }),
    }).then(
      () => 'nothing',
      (error: unknown) => String(error),
    );
    if (!told.includes(`1 of 2 faults were not caught:\n${UNSEEN}: `) || !told.includes('verify names nothing where'))
      throw new Error(`not seen: ${told}`);
    return { missed: told.split('\n')[1]! };
  },
};

function sample(faults: readonly Fault[], seed: number): readonly Fault[] {
  const random = seeded(seed);
  const left = [...faults];
  return Array.from({ length: SAMPLED }, () => left.splice(random.between(0, left.length - 1), 1)[0]!);
}

export const PIPELINE_FAULT_PROOFS: readonly Proof[] = [faultsProof, faultsRedProof];
