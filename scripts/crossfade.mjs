#!/usr/bin/env node
/** The command line in a checkout (`npx crossfade …`): installs what is missing, then runs services/cli/main.ts on Node 26. */
import { ensureInstalled, runProgram } from './bootstrap.mjs';

ensureInstalled();
await runProgram('services/cli/main.ts', process.argv.slice(2));
