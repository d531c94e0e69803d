/**
 * Watches raw topics, mapped topics and claims. Guarantee: finds every claim that names what is not there, and every mapped record that is
 * not what mapping its raw record gives or stands before one that belongs before it in its partition.
 */
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { decodeEventHeader, decodePlace, EVENT_HEADER, EXACT_HEADER } from '#schemas/order/event-header.ts';
import type { Claim } from '#schemas/order/order-record.ts';
import type { WireFormat } from '#schemas/wire/wire.ts';
import type { EventMapper, MappedRecord } from '#services/transformer/map-event.ts';
import { rowOf } from './raw-events.ts';

/** What one raw record leaves in a mapped partition. */
interface Expected {
  readonly offset: number;
  readonly text: string;
}

export class MappedCheck {
  readonly #format: WireFormat;
  readonly #mappers: readonly EventMapper[];
  /** Raw partition → mapped partition → what belongs there. */
  readonly #expected = new Map<string, Map<string, Expected[]>>();
  /** Raw offsets as they stand in a mapped partition. */
  readonly #places = new Map<string, string[]>();
  /** The same by raw and mapped partition, without repeats. */
  readonly #seen = new Map<string, Expected[]>();
  readonly #claimEnds = new Map<string, Map<string, number>>();
  /** Raw partition → offset. */
  readonly claimed = new Map<string, number>();
  readonly faults: string[] = [];
  repeats = 0;

  /** `mappers` by the raw topic's index; `format` knows all schemas. */
  constructor(format: WireFormat, mappers: readonly EventMapper[]) {
    this.#format = format;
    this.#mappers = mappers;
  }

  raw(index: number, partition: number, record: FetchedRecord): void {
    const mapper = this.#mappers[index]!;
    mapper.map(record, { partition, offset: record.offset }, (mapped) => {
      const place = `${mapper.to.name}/${mapped.partition}`;
      const places = upsert(this.#expected, `${index}/${partition}`, () => new Map<string, Expected[]>());
      upsert(places, place, () => []).push({ offset: record.offset, text: this.#text(mapped) });
    });
  }

  /** The reader's rule: what lies at or below the last one seen is a repeat; so what is new must be what comes next. */
  mapped(place: string, record: FetchedRecord): void {
    const cf = record.header(EVENT_HEADER)!;
    const from = decodePlace(cf);
    const raw = `${decodeEventHeader(cf).topic}/${from.partition}`;
    upsert(this.#places, place, () => []).push(`${raw}@${from.offset}`);
    const seen = upsert(this.#seen, `${raw} ${place}`, () => []);
    const last = seen.at(-1)?.offset ?? -1;
    const text = from.offset < last ? '' : this.#text({ key: record.key, value: record.value, headers: headersOf(record) });
    // Two records of one raw record stand side by side; whichever is here already is a repeat.
    if (from.offset < last || seen.some((one) => one.offset === from.offset && one.text === text)) {
      this.repeats++;
      return;
    }
    const next = this.#expected.get(raw)?.get(place)?.[seen.length];
    if (next?.offset !== from.offset || next.text !== text)
      this.faults.push(`${place} holds ${raw}@${from.offset} where ${raw}@${next?.offset} belongs`);
    seen.push({ offset: from.offset, text });
  }

  claim({ entries }: Claim): void {
    for (const { topic, partition, offset, ends } of entries) {
      const raw = `${topic}/${partition}`;
      const known = upsert(this.#claimEnds, raw, () => new Map<string, number>());
      for (const [mapped, partitions] of Object.entries(ends))
        for (const [number, end] of partitions) known.set(`${mapped}/${number}`, Math.max(end, known.get(`${mapped}/${number}`) ?? 0));
      this.claimed.set(raw, Math.max(offset, this.claimed.get(raw) ?? 0));
      for (const [place, expected] of this.#expected.get(raw) ?? []) {
        const end = known.get(place) ?? 0;
        const there = new Set(this.#places.get(place)?.slice(0, end));
        const missing = expected.find((one) => one.offset < offset && !there.has(`${raw}@${one.offset}`));
        if (missing !== undefined)
          this.faults.push(`a claim names ${raw}@${offset} with ${place} up to ${end}, where @${missing.offset} is not`);
      }
    }
  }

  /** What was mapped, repeats dropped, beside what should be. */
  get sides(): { readonly mapped: readonly string[]; readonly expected: readonly string[] } {
    const expected = [...this.#expected].flatMap(([raw, places]) =>
      [...places].flatMap(([place, all]) => all.map((one) => `${raw} ${place} ${one.offset} ${one.text}`)),
    );
    const mapped = [...this.#seen].flatMap(([places, all]) => all.map((one) => `${places} ${one.offset} ${one.text}`));
    return { mapped: mapped.toSorted(), expected: expected.toSorted() };
  }

  /** All of a mapped record but its clock. */
  #text({ key, value, headers }: Omit<MappedRecord, 'partition'>): string {
    const cf = headers.find((header) => header.name === EVENT_HEADER)!.value;
    const { flags, v, sub, absent } = decodeEventHeader(cf);
    const exact = headers.find((header) => header.name === EXACT_HEADER)?.value;
    const event = value === undefined ? undefined : this.#format.decode(value, { absent, exact });
    const rows = event && { op: event.op, before: rowOf(event.before), after: rowOf(event.after) };
    return JSON.stringify({ flags, v, sub, key: key?.toString('hex'), ...rows });
  }
}

function headersOf(record: FetchedRecord): MappedRecord['headers'] {
  return [EVENT_HEADER, EXACT_HEADER].flatMap((name) => {
    const value = record.header(name);
    return value === undefined ? [] : [{ name, value }];
  });
}

function upsert<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
