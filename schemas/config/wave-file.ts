/**
 * The file of one wave: a migration like any other, of the rows of its units. Guarantee: pure; nothing of another wave's rows is in it, and its name, its
 * progress, its state and its fences are its own. What of a table is a wave's the catalogue says (schemas/mapping/wave-tables.ts).
 */
import { PipelineError } from '../errors.ts';
import { didYouMean } from '../nearest-name.ts';
import { reverseName } from '../mapping/reverse/reverse-name.ts';
import type { MigrationFile, WavesEntry } from './migration-file.ts';
import { SHARED_WAVE, waveName } from './wave-name.ts';

/** In the order in which they are meant to move: what is shared comes last. */
export function waveNames({ waves, shared }: WavesEntry): readonly string[] {
  return [...waves.map(({ name }) => name), ...(shared.length > 0 ? [SHARED_WAVE] : [])];
}

/** @throws PipelineError CF-1007 where the file has no such wave, or waves and none is named */
export function waveFile(file: MigrationFile, wave: string | undefined): MigrationFile {
  const { waves, ...whole } = file;
  if (waves === undefined) {
    if (wave === undefined) return file;
    throw new PipelineError('CF-1007', `the file has no waves, so there is no wave ${wave}`, { remedy: 'Leave --wave out.' });
  }
  const names = waveNames(waves);
  if (wave === undefined) {
    throw new PipelineError('CF-1007', `the file moves in waves: ${names.join(', ')}`, { remedy: `Say which: --wave ${names[0]}.` });
  }
  if (!names.includes(wave)) {
    throw new PipelineError('CF-1007', `the file has no wave ${wave}${didYouMean(wave, names)}`, {
      remedy: `It has: ${names.join(', ')}.`,
    });
  }
  return { ...whole, name: waveName(file.name, wave), wave: { name: wave, of: file.name, waves } };
}

/** Migrations of the other waves. */
export function otherWaveNames({ name, wave }: Pick<MigrationFile, 'name' | 'wave'>): readonly string[] {
  if (wave === undefined) return [];
  return waveNames(wave.waves)
    .map((one) => waveName(wave.of, one))
    .filter((one) => one !== name);
}

/** Pipelines of the other waves, both ways: they write rows of theirs to the same tables. */
export function otherSinks(file: Pick<MigrationFile, 'name' | 'wave'>): readonly string[] {
  return otherWaveNames(file).flatMap((one) => [one, reverseName(one)]);
}

/** What is done once for all waves goes by it. */
export function wholeName({ name, wave }: Pick<MigrationFile, 'name' | 'wave'>): string {
  return wave?.of ?? name;
}
