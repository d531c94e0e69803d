/** Every proof, cheap ones first. */
import type { Proof } from '../proof.ts';
import { adjacentCommitsProof, adjacentCommitsRedProof } from './adjacent-commits.ts';
import { bigTransactionProof } from './big-transaction.ts';
import { killProof, killRedProof } from './kill-100.ts';
import { leastPrivilegeProof } from './least-privilege.ts';
import { moneyTransfersProof } from './money-transfers.ts';
import { SAMPLE_PROOFS } from './sample-databases.ts';

export const PROOFS: readonly Proof[] = [
  adjacentCommitsProof,
  adjacentCommitsRedProof,
  ...SAMPLE_PROOFS,
  leastPrivilegeProof,
  moneyTransfersProof,
  killRedProof,
  bigTransactionProof,
  killProof,
];
