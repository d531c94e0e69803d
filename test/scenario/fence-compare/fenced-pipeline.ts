/** The played pipeline, and what begins the comparison at its fence. */
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { beginFenceCompare, type FenceCompare, type FenceCompareOptions } from '#services/reconciler/fence/fence-compare.ts';
import type { FenceLimits } from '#services/reconciler/fence/fence-limits.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { play, type Played, type PlayOptions } from '../verify/played-pipeline.ts';

export interface FencedPipeline extends Played {
  begin(limits?: Partial<FenceLimits>, targetRows?: FenceCompareOptions['targetRows']): Promise<FenceCompare>;
}

const NAME = 'played';

export async function fencedPipeline(options: Omit<PlayOptions, 'name'>): Promise<FencedPipeline> {
  const played = await play({ ...options, name: NAME });
  await played.follow();
  const { sourceUrl, targetUrl, mapping } = played;
  const head = `crossfade: 1\nname: ${NAME}\nsource: { postgres: "${sourceUrl}" }\ntarget: { postgres: "${targetUrl}" }\ntables:\n`;
  const { file } = readMigrationFile({ path: 'test.yaml', text: head + (options.tables ?? '  - from: public.*\n'), env: {} });
  const begin: FencedPipeline['begin'] = async (limits = {}, targetRows = () => undefined) =>
    beginFenceCompare({ file: file!, mapping, logger: silentLogger, limits, targetRows });
  return { ...played, begin };
}
