/**
 * The form of a Connect type. Guarantee: the one place that says how a type is read and written, so encoders and decoders of both wire
 * formats agree; types that Debezium's other modes use (nanoseconds, ISO texts, points, vectors) are read too.
 */
import type { ConnectType } from '../connect-type.ts';
import { arrayForm } from './array.ts';
import { bitsForm, byteaForm } from './binary.ts';
import { dateForm, durationForm, nanoTimestampForm, timeForm, timestampForm } from './temporal.ts';
import { decimalForm, scaledForm } from './decimal.ts';
import { floatForm } from './floating.ts';
import { foreignForm } from './foreign.ts';
import { hstoreForm, isHstore } from './hstore.ts';
import { booleanForm, integerForm } from './whole-numbers.ts';
import type { Form } from './form.ts';
import { zonedTimeForm, zonedTimestampForm } from './zoned.ts';

export const NAMES = {
  date: 'io.debezium.time.Date',
  time: 'io.debezium.time.Time',
  microTime: 'io.debezium.time.MicroTime',
  nanoTime: 'io.debezium.time.NanoTime',
  timestamp: 'io.debezium.time.Timestamp',
  microTimestamp: 'io.debezium.time.MicroTimestamp',
  nanoTimestamp: 'io.debezium.time.NanoTimestamp',
  zonedTimestamp: 'io.debezium.time.ZonedTimestamp',
  zonedTime: 'io.debezium.time.ZonedTime',
  microDuration: 'io.debezium.time.MicroDuration',
  decimal: 'org.apache.kafka.connect.data.Decimal',
  scaled: 'io.debezium.data.VariableScaleDecimal',
  bits: 'io.debezium.data.Bits',
  json: 'io.debezium.data.Json',
  xml: 'io.debezium.data.Xml',
  uuid: 'io.debezium.data.Uuid',
  enum: 'io.debezium.data.Enum',
  ltree: 'io.debezium.data.Ltree',
  tsvector: 'io.debezium.data.Tsvector',
} as const;

const CONNECT = 'org.apache.kafka.connect.data.';

const BY_NAME: Readonly<Record<string, (type: ConnectType) => Form>> = {
  [NAMES.date]: dateForm,
  [`${CONNECT}Date`]: dateForm,
  [NAMES.time]: (type) => timeForm(type, 1000),
  [`${CONNECT}Time`]: (type) => timeForm(type, 1000),
  [NAMES.microTime]: (type) => timeForm(type, 1),
  [NAMES.nanoTime]: (type) => timeForm(type, 0.001),
  [NAMES.timestamp]: (type) => timestampForm(type, 1000),
  [`${CONNECT}Timestamp`]: (type) => timestampForm(type, 1000),
  [NAMES.microTimestamp]: (type) => timestampForm(type, 1),
  [NAMES.nanoTimestamp]: nanoTimestampForm,
  [NAMES.zonedTimestamp]: zonedTimestampForm,
  [NAMES.zonedTime]: zonedTimeForm,
  [NAMES.microDuration]: durationForm,
  [NAMES.decimal]: decimalForm,
  [NAMES.scaled]: scaledForm,
  [NAMES.bits]: bitsForm,
};

export function formOf(type: ConnectType): Form {
  const named = type.name === undefined ? undefined : BY_NAME[type.name];
  if (named !== undefined) return named(type);
  switch (type.base) {
    case 'boolean':
      return booleanForm(type);
    case 'int8':
    case 'int16':
    case 'int32':
    case 'int64':
      return integerForm(type);
    case 'float32':
    case 'float64':
      return floatForm(type);
    case 'string':
      return isHstore(type) ? hstoreForm(type) : { kind: 'text', type };
    case 'bytes':
      return byteaForm(type);
    case 'array':
      if (type.name !== undefined || type.items === undefined || ['array', 'map', 'struct'].includes(type.items.base)) {
        if (type.items?.name !== NAMES.scaled) return foreignForm(type);
      }
      return arrayForm(type, formOf(type.items));
    case 'map':
    case 'struct':
      return foreignForm(type);
    default:
      return type.base satisfies never;
  }
}
