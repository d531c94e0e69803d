/**
 * The command line's process. Guarantee: the first SIGTERM or SIGINT asks the command to drain, a second one ends the process at once
 * (130), and stdout is flushed before the exit code is given.
 */
import type { CliIo, Screen } from './command.ts';
import { makeLean } from './lean-process.ts';

/** The reason of the abort signal: which signal asked for the stop. */
class StopRequest extends Error {
  override readonly name = 'StopRequest';
}

function stopOnSignals(): AbortSignal {
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort(new StopRequest(name));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return stop.signal;
}

function screenOf(stream: NodeJS.WriteStream): Screen {
  // `crossfade status | head` closes our stdout early: that is no failure of ours.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
  return {
    write: (text) => void stream.write(text),
    get isTerminal() {
      return stream.isTTY;
    },
    get columns() {
      return stream.columns > 0 ? stream.columns : 100;
    },
  };
}

makeLean();
// Before all else is loaded: who is told to stop meanwhile stops in good order.
const stop = stopOnSignals();
// Loaded only now: all of it would be loaded twice.
const { runCli } = await import('./run-cli.ts');

const io: CliIo = {
  environment: process.env,
  directory: process.cwd(),
  stdout: screenOf(process.stdout),
  stderr: screenOf(process.stderr),
};
const exitCode = await runCli(process.argv.slice(2), io, stop);
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
