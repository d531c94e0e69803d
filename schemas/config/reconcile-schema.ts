/** `reconcile:` of the migration file: how much the comparison beside the pipeline may take. */
import { z } from 'zod';
import { expected, flag, whole } from './file-terms.ts';
import { reconcileStream } from './reconcile-stream.ts';

export const reconcileSettings = z.strictObject(
  {
    enabled: flag().default(true).describe('Compare source and target while the instance runs.'),
    budgetPercent: whole(1, 100).default(10).describe('Share of the time that comparing may take.'),
    startAfterSeconds: whole(0, 86_400).default(15).describe('How long after the copy the first comparison begins.'),
    sweepHours: whole(1, 24).default(6).describe('Rows that do not change are compared again after this.'),
    checkMinutes: whole(1, 1440).default(60).describe('The checks and shadow queries of the file are made again after this.'),
    stream: reconcileStream,
  },
  expected('a block of enabled, budgetPercent, startAfterSeconds, sweepHours, checkMinutes, stream'),
);
