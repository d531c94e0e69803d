/** hstore as a JSON object. Guarantee: an hstore that PostgreSQL wrote comes back as it wrote it: same order, NULL apart from an empty text. */
import { SOURCE_TYPE, type ConnectType } from '../connect-type.ts';
import type { StringForm } from './form.ts';

const PAIR = /"((?:[^"\\]|\\.)*)"=>(?:(NULL)|"((?:[^"\\]|\\.)*)")(?:, |$)/gsy;
const JSON_PAIR = /("(?:[^"\\]|\\.)*"):(null|"(?:[^"\\]|\\.)*")(?:,|$)/gsy;

export function isHstore(type: ConnectType): boolean {
  return type.parameters?.[SOURCE_TYPE] === 'HSTORE';
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/gs, '$1');
}

function escape(text: string): string {
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

export function hstoreForm(type: ConnectType): StringForm {
  return {
    kind: 'string',
    type,
    parse(text) {
      const pairs: string[] = [];
      let end = 0;
      for (const match of text.matchAll(PAIR)) {
        pairs.push(
          `${JSON.stringify(unescape(match[1] ?? ''))}:${match[2] === undefined ? JSON.stringify(unescape(match[3] ?? '')) : 'null'}`,
        );
        end = match.index + match[0].length;
      }
      return end === text.length ? `{${pairs.join(',')}}` : undefined;
    },
    render(json) {
      const pairs: string[] = [];
      for (const match of json.slice(1, -1).matchAll(JSON_PAIR)) {
        const value = match[2] === 'null' ? 'NULL' : escape(JSON.parse(match[2] ?? '""') as string);
        pairs.push(`${escape(JSON.parse(match[1] ?? '""') as string)}=>${value}`);
      }
      return pairs.join(', ');
    },
  };
}
