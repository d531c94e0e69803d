import { CopySimulation } from '#test/support/copy-simulator.ts';
import { seeded } from '#test/support/random.ts';
import { decodeBegin, decodeMessage, TAG, decodeTuple, locateTuples, decodeCommit } from '#schemas/pgoutput/message.ts';
import { decodeChunkRows } from '#schemas/frame/frame.ts';
const sim: any = new CopySimulation(seeded(Number(process.argv[2])), { keyless: process.argv[3] === 'true' });
const P = CopySimulation.prototype as any;
console.log(await sim.run(Number(process.argv[4] ?? 160)));
for (const l of sim.trace()) console.log(l);
