/** How the demo speaks: few lines, with a spinner on a terminal and plain text elsewhere. Guarantee: the same facts on both. */
import { intro, log, outro, spinner } from '@clack/prompts';

export interface Step {
  /** Replaces the line in hand on a terminal; unheard elsewhere. */
  update(text: string): void;
  done(text: string): void;
  failed(text: string): void;
}

export interface Story {
  begin(text: string): void;
  step(text: string): Step;
  tell(text: string): void;
  end(text: string): void;
}

/** Runs one step of the story: its line ends well with the text returned, or badly with the error. */
export async function tell<T>(story: Story, text: string, work: (step: Step) => Promise<readonly [T, string]>): Promise<T> {
  const step = story.step(text);
  try {
    const [value, last] = await work(step);
    step.done(last);
    return value;
  } catch (error) {
    step.failed(text);
    throw error;
  }
}

export function number(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function createStory(output: NodeJS.WriteStream, clock: () => number): Story {
  return output.isTTY ? terminalStory(output) : plainStory(output, clock);
}

function terminalStory(output: NodeJS.WriteStream): Story {
  return {
    begin: (text) => intro(text, { output }),
    step: (text) => {
      const line = spinner({ output });
      line.start(text);
      return { update: (next) => line.message(next), done: (last) => line.stop(last), failed: (last) => line.error(last) };
    },
    tell: (text) => log.message(text, { output }),
    end: (text) => outro(text, { output }),
  };
}

function plainStory(output: NodeJS.WritableStream, clock: () => number): Story {
  const began = clock();
  const say = (mark: string, text: string): void => {
    const seconds = ((clock() - began) / 1000).toFixed(1).padStart(5);
    output.write(`${seconds} s  ${mark} ${text.replaceAll('\n', '\n           ')}\n`);
  };
  return {
    begin: (text) => say('·', text),
    step: () => ({ update: () => undefined, done: (text) => say('✓', text), failed: (text) => say('✗', text) }),
    tell: (text) => say('·', text),
    end: (text) => say('·', text),
  };
}
