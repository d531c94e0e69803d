/** What the copier is made of. */
import type { PipelineSettings } from '#schemas/config/migration-file.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { CopySource } from '#connectors/source/copy-source.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { ChunkInterludes } from './chunk-reader.ts';
import type { CopyOrder } from './copy-plan.ts';

export interface CopierTable {
  /** One for each target that it goes to. */
  readonly mappings: readonly TableMapping[];
  readonly catalog: CatalogTable;
  /** Its rows must arrive all at once (the target checks a foreign key of the table to itself): one chunk, as for a table without a key. */
  readonly isWhole?: boolean;
}

export interface CopierOptions {
  readonly name: string;
  readonly source: CopySource;
  readonly tables: readonly CopierTable[];
  readonly progress: Topic;
  readonly settings: PipelineSettings;
  readonly order: CopyOrder;
  /** The target has had every row when this log began: only re-copies are made, and all tables are followed from the start. */
  readonly isFilled?: boolean;
  readonly spoolDirectory: string;
  readonly logger: Logger;
  /** A leaf was attached to this table: who applies its changes must know them as the root's, from its first chunk on. */
  readonly onLeaves?: (table: { readonly schema: string; readonly name: string }, leaves: readonly number[]) => void;
  readonly now?: () => number;
  readonly random?: () => number;
  readonly interludes?: ChunkInterludes;
  /** Rows may be copied over those that are there: asked for each chunk of a re-copy. @throws PipelineError where nobody can tell */
  readonly mayCopy?: () => Promise<boolean>;
  /** Whose journal tells on this side that it does not serve any more. Absent: there is none. */
  readonly migration?: string;
  /** A table up to this size is one chunk, read without asking where it ends. */
  readonly oneChunkBytes?: number;
}
