/** Who runs this command, as the audit trail has it where nobody is named. Guarantee: the account and the machine, whatever a person says of himself. */
import { hostname, userInfo } from 'node:os';

export function accountName(): string {
  return `${userInfo().username}@${hostname()}`;
}
