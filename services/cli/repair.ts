import type { CommandSpec } from './command.ts';
export const repairCommand: CommandSpec = { name: 'repair', about: '', examples: [], run: async () => ({ summary: '', result: null }) };
