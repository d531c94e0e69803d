/** Every proof; what a budget should not be without comes first. */
import type { Proof } from '../proof.ts';
import { adjacentCommitsProof, adjacentCommitsRedProof } from './adjacent-commits.ts';
import { bigTransactionProof } from './big-transaction.ts';
import { canonicalRateProof } from './canonical-rate.ts';
import { castsProof } from './casts.ts';
import { corruptionsProof, corruptionsRedProof, gateCompareProof } from './corruptions.ts';
import { flipKillsProof, flipsProof, swapKillsProof } from './flips.ts';
import { kafkaKillProof, kafkaKillRedProof } from './kafka-kills.ts';
import { kafkaOutageProof, kafkaShopProof, kafkaStormProof } from './kafka-weather.ts';
import { killProof, killRedProof } from './kill-100.ts';
import { leastPrivilegeProof } from './least-privilege.ts';
import { MAPPING_COST_PROOFS } from './mapping-cost.ts';
import { moneyTransfersProof } from './money-transfers.ts';
import { pagilaRedesignedProof } from './pagila-redesigned.ts';
import { PIPELINE_FAULT_PROOFS } from './pipeline-faults.ts';
import { REDIS_PROOFS, redisCompareProof } from './redis.ts';
import { SAMPLE_PROOFS } from './sample-databases.ts';
import { sweepLoadProof } from './sweep-load.ts';
import { sweepRateProof } from './sweep-rate.ts';
import { surrogateKeysProof, surrogateKeysRedProof } from './surrogate-keys.ts';
import { twoTargetsProof } from './two-targets.ts';
import { TYPES_PROOFS } from './types.ts';

export const PROOFS: readonly Proof[] = [
  adjacentCommitsProof,
  adjacentCommitsRedProof,
  canonicalRateProof,
  sweepRateProof,
  castsProof,
  ...MAPPING_COST_PROOFS,
  ...SAMPLE_PROOFS,
  pagilaRedesignedProof,
  ...TYPES_PROOFS,
  leastPrivilegeProof,
  moneyTransfersProof,
  kafkaShopProof,
  kafkaOutageProof,
  kafkaStormProof,
  kafkaKillRedProof,
  killRedProof,
  corruptionsRedProof,
  ...PIPELINE_FAULT_PROOFS,
  surrogateKeysRedProof,
  surrogateKeysProof,
  ...REDIS_PROOFS,
  kafkaKillProof,
  killProof,
  twoTargetsProof,
  flipKillsProof,
  swapKillsProof,
  bigTransactionProof,
  redisCompareProof,
  corruptionsProof,
  gateCompareProof,
  sweepLoadProof,
  flipsProof,
];
