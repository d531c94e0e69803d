/** The store of a migration's flags. Guarantee: the rules' salt is as hard to guess as a key, so nobody chooses a bucket by choosing a name. */
import { randomBytes } from 'node:crypto';
import type { FlagStore } from '#connectors/flags/flags.ts';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import type { MigrationFile, WaveOf } from '#schemas/config/migration-file.ts';
import { waveNames } from '#schemas/config/wave-file.ts';
import { SHARED_WAVE, waveName } from '#schemas/config/wave-name.ts';
import { type FlagDocument, versionOf, type WaveFlags } from '#schemas/flags/flag-document.ts';

export function openFlagStore(url: string, name: string): FlagStore {
  const record = new FlagRecord(url, name);
  return {
    read: async () => record.read(),
    change: async (change, { actor, reason }, ifVersion) =>
      record.change({
        change,
        actor,
        freshSalt: randomBytes(12).toString('base64url'),
        ...(reason !== undefined && { reason }),
        ...(ifVersion !== undefined && { ifVersion }),
      }),
    close: async () => record.close(),
  };
}

/** Of all waves of a migration in one document; what is changed is one wave's. */
export function openWaveStore(url: string, wave: WaveOf): FlagStore {
  const record = new FlagRecord(url, wave.of);
  const own = openFlagStore(url, waveName(wave.of, wave.name));
  const read = async (): Promise<FlagDocument> => {
    const names = waveNames(wave.waves).map((name) => waveName(wave.of, name));
    return joinWaves(wave, await record.readAll(names, waveName(wave.of, '')));
  };
  return {
    read,
    change: async (change, by, ifVersion) => {
      await own.change(change, by, ifVersion);
      return read();
    },
    close: async () => {
      await Promise.all([record.close(), own.close()]);
    },
  };
}

/**
 * Each part of a document's age only goes up, so their sums do: those of waves that the file has no more are counted on, the versions of their rules
 * among the states, since the document has only the rules of its own waves.
 */
function joinWaves({ of, waves }: WaveOf, { named, others }: Awaited<ReturnType<FlagRecord['readAll']>>): FlagDocument {
  const sum = (part: (document: FlagDocument) => number): number =>
    [...named, ...others].reduce((all, document) => all + part(document), 0);
  const gone = others.reduce((all, document) => all + versionOf(document), 0);
  const parts = waveNames(waves).map((name, i): WaveFlags => {
    const { serves, rules } = named[i]!;
    const shared = name === SHARED_WAVE && { tables: waves.shared };
    const units = waves.waves.find((one) => one.name === name)?.units ?? [];
    return { name, units, ...shared, serves, ...(rules !== undefined && { rules }) };
  });
  return { name: of, epoch: sum(({ epoch }) => epoch), state: sum(({ state }) => state) + gone, serves: 'source', waves: parts };
}

/** Undefined: nothing keeps them. */
export function flagsUrl(file: MigrationFile): string | undefined {
  return file.targets !== undefined && file.targets.length > 1 ? undefined : file.target.postgres;
}
