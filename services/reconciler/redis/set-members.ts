/**
 * The members of a table's sets as they stand in Redis. Guarantee: every member that was there throughout and could be a row's key of this table is
 * given, once for each set that it is in (or more often); other members, and other things under a set's name, are somebody else's.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { templateColumns } from '#schemas/mapping/redis/key-template.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { StoreClient } from '#connectors/probe/redis/connection.ts';
import { keyReader, keysLike } from '#connectors/probe/redis/row-keys.ts';
import { membersOf } from '#connectors/probe/redis/stored-rows.ts';

export interface StoredMember {
  readonly set: string;
  /** Of the set's name. */
  readonly template: string;
  readonly member: string;
  /** Values of the key columns in it. */
  readonly key: Texts;
}

export async function* storedMembers(store: StoreClient, { redis, targetKey }: TableMapping): AsyncGenerator<readonly StoredMember[]> {
  const { key: keyTemplate, sets } = redis!;
  const readKey = keyReader(keyTemplate, targetKey);
  const readers = sets.map((template) => keyReader(template, templateColumns(template)));
  for (const [i, template] of sets.entries()) {
    for await (const names of keysLike(store, template)) {
      // A name that two templates can give is the first one's.
      for (const set of names.filter((name) => readers.findIndex((read) => read(name) !== undefined) === i)) {
        for await (const members of membersOf(store, set)) {
          yield members.flatMap((member) => {
            const key = readKey(member);
            return key === undefined ? [] : [{ set, template: template.text, member, key }];
          });
        }
      }
    }
  }
}
