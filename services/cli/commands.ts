/** The commands of this version, in the order of their use, and the names that later versions keep. */
import { approveCommand } from './approve.ts';
import { backupCommand } from './backup.ts';
import { checkCommand } from './check.ts';
import type { CommandSpec } from './command.ts';
import { cleanupCommand } from './cleanup.ts';
import { completionCommand } from './completion.ts';
import { cutoverCommand } from './cutover.ts';
import { demoCommand } from './demo.ts';
import { dlqCommand } from './dlq.ts';
import { flagsCommand } from './flags.ts';
import { drillCommand } from './drill.ts';
import { explainCommand } from './explain.ts';
import { initCommand } from './init.ts';
import { pauseCommand, resumeCommand } from './pause.ts';
import { planCommand } from './plan.ts';
import { repairCommand } from './repair.ts';
import { rollbackCommand } from './rollback.ts';
import { reportCommand } from './report.ts';
import { schemaCommand } from './schema.ts';
import { controlCommand, readerCommand, reconcilerCommand, sinkCommand, transformerCommand } from './service.ts';
import { signoffCommand } from './signoff.ts';
import { statusCommand } from './status.ts';
import { testCommand } from './test.ts';
import { throttleCommand } from './throttle.ts';
import { triggersCommand } from './triggers.ts';
import { upCommand } from './up.ts';
import { verifyCommand } from './verify.ts';

export const COMMANDS: readonly CommandSpec[] = [
  demoCommand,
  initCommand,
  checkCommand,
  planCommand,
  testCommand,
  schemaCommand,
  backupCommand,
  upCommand,
  readerCommand,
  transformerCommand,
  sinkCommand,
  reconcilerCommand,
  controlCommand,
  statusCommand,
  verifyCommand,
  repairCommand,
  pauseCommand,
  resumeCommand,
  throttleCommand,
  dlqCommand,
  cutoverCommand,
  rollbackCommand,
  drillCommand,
  approveCommand,
  signoffCommand,
  flagsCommand,
  triggersCommand,
  reportCommand,
  cleanupCommand,
  explainCommand,
  completionCommand,
];

/** Named in the design, not built yet: they get an answer of their own. */
export const LATER_COMMANDS: readonly string[] = [];
