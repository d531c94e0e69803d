/** A decoded event with where it comes from. Guarantee: plain data. */
import { PipelineError } from '../errors.ts';
import type { ReadSource } from './source-block.ts';
import type { DecodedEvent } from './wire.ts';

export interface SourcedEvent extends DecodedEvent {
  readonly source: ReadSource;
}

export function noEnvelope(): PipelineError {
  return new PipelineError('CF-3006', 'a record is no change event of Debezium: its schema has no op and source', {
    remedy: 'Take the unwrap transform (ExtractNewRecordState) out of the connector: whole envelopes are read.',
  });
}
