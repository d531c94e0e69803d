/** `crossfade verify` as a step of the story. Guarantee: throws, with the tables that differ, unless both shops are equal. */
import { explain, runCommand, type VerifyResult } from './pipeline/command.ts';
import type { DemoStage } from './stage.ts';
import { number, type Story, tell } from './story.ts';

export async function verifyShops(stage: DemoStage, story: Story): Promise<VerifyResult> {
  return await tell(story, 'crossfade verify', async () => {
    const outcome = await runCommand<VerifyResult>(['verify'], stage.pipeline);
    const result = outcome.envelope?.result;
    if (outcome.code !== 0 || result === undefined)
      throw new Error(`crossfade verify: ${explain(outcome)}\n${JSON.stringify(worst(result), undefined, 2)}`);
    return [
      result,
      `crossfade verify: ${number(result.tables.reduce((rows, table) => rows + table.rowsSource, 0))} rows compared at ${result.at.lsn}, ${result.differences} differences`,
    ];
  });
}

function worst(result: VerifyResult | undefined): unknown {
  return result?.tables.filter((table) => table.missing + table.extra + table.different > 0);
}
