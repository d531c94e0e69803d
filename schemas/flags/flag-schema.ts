/** Documents and changes of flags that come from outside: a row, HTTP, Redis. Guarantee: nothing unknown passes. */
import { z } from 'zod';
import { DUAL_STAGES } from './dual-stages.ts';
import type { FlagDocument } from './flag-document.ts';
import { type ReadRules, READ_STAGES, type RulesChange } from './read-rules.ts';

const stage = z.enum(READ_STAGES);
const percent = z.number().min(0).max(100);
const ruleSet = z.strictObject({
  stage,
  targetPercent: percent,
  shadowPercent: percent,
  tenants: z.record(z.string(), stage),
});

export const readRulesSchema: z.ZodType<ReadRules> = z.strictObject({
  version: z.int().min(1),
  salt: z.string().min(1),
  kill: z.boolean(),
  followsWrites: z.boolean(),
  all: ruleSet,
  tables: z.record(z.string(), ruleSet),
  dual: z.enum(DUAL_STAGES).exactOptional(),
});

const waveFlags = z.strictObject({
  name: z.string(),
  units: z.union([z.literal('*'), z.array(z.string().nullable())]),
  tables: z.array(z.string()).exactOptional(),
  serves: z.enum(['source', 'target']),
  rules: readRulesSchema.exactOptional(),
});

export const flagDocumentSchema: z.ZodType<FlagDocument> = z.strictObject({
  name: z.string(),
  epoch: z.int().min(0),
  state: z.int().min(0),
  serves: z.enum(['source', 'target']),
  rules: readRulesSchema.exactOptional(),
  waves: z.array(waveFlags).exactOptional(),
});

const unit = z.string().min(1).max(1_000);

const readsValue = z.union([
  z.enum([...READ_STAGES, 'default']),
  z.strictObject({ targetPercent: percent }),
  z.strictObject({ shadowPercent: percent }),
]);

export const rulesChangeSchema: z.ZodType<RulesChange> = z.union([
  z.strictObject({ kind: z.literal('reads'), reads: readsValue, table: unit.exactOptional(), tenant: unit.exactOptional() }),
  z.strictObject({ kind: z.literal('kill'), kill: z.boolean() }),
  z.strictObject({ kind: z.literal('follow-writes') }),
  z.strictObject({ kind: z.literal('stage'), stage: z.enum(DUAL_STAGES) }),
]);
