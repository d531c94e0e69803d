/** Every fault, and which tell most in a small run. */
import { COPY_FAULTS } from './copy-faults.ts';
import type { Fault } from './fault.ts';
import { SINK_FAULTS } from './sink-faults.ts';
import { STREAM_FAULTS } from './stream-faults.ts';
import { VALUE_FAULTS } from './value-faults.ts';

export const FAULTS: readonly Fault[] = [...STREAM_FAULTS, ...VALUE_FAULTS, ...COPY_FAULTS, ...SINK_FAULTS];
