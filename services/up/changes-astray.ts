/**
 * Changes that a test has lost or altered on their way. Guarantee: a row's change goes astray only when a text that it carries says so, or one before
 * it in its transaction did: whoever writes that text knows exactly what has gone.
 */
import { PipelineError } from '#schemas/errors.ts';
import { TAG } from '#schemas/pgoutput/message.ts';
import { WAYS, type Astray, type Way } from '#schemas/test-hooks.ts';

const DEEDS = ['lose', 'alter'] as const;

interface Rule {
  readonly way: Way;
  readonly deed: (typeof DEEDS)[number];
  readonly text: string;
}

/** What an altered text ends with in place of its last letter. */
const ALTERED = '?';

/**
 * `reader:lose:TEXT,sink:alter:TEXT`: what holds the text is altered; or it is lost there, with all rows that follow it in its transaction.
 * @throws PipelineError CF-1007 on anything else
 */
export function changesAstray(strays: string): Astray {
  const rules = strays.split(',').map(ruleOf);
  const losing = new Set<Way>();
  return (way, record) => {
    switch (record[0]) {
      case TAG.begin:
      case TAG.commit:
        losing.delete(way);
        return record;
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        break;
      default:
        return record;
    }
    const rule = rules.find((one) => one.way === way && record.includes(one.text));
    if (rule?.deed === 'lose') losing.add(way);
    if (losing.has(way)) return undefined;
    return rule === undefined ? record : altered(record, rule.text);
  };
}

function ruleOf(given: string): Rule {
  const [way, deed, text = ''] = given.split(':');
  const [oneWay, oneDeed] = [WAYS.find((one) => one === way), DEEDS.find((one) => one === deed)];
  if (oneWay === undefined || oneDeed === undefined || text === '')
    throw new PipelineError('CF-1007', `CROSSFADE_TEST_ASTRAY says nothing of a way, a deed and a text: ${given}`);
  return { way: oneWay, deed: oneDeed, text };
}

function altered(record: Buffer, text: string): Buffer {
  const other = Buffer.from(record);
  for (let at = other.indexOf(text); at >= 0; at = other.indexOf(text, at + 1)) other.write(ALTERED, at + Buffer.byteLength(text) - 1);
  return other;
}
