/**
 * Something that a migration has put on a server or a disk. Guarantee: each has one name by which it is listed, taken away and told as gone, and says
 * whether rows of the source rest in it.
 */

export const REMNANT_KINDS = [
  'slot',
  'publication',
  'trigger',
  'origin',
  'rows',
  'schema',
  'directory',
  'topics',
  'keys',
  'backup',
] as const;
export type RemnantKind = (typeof REMNANT_KINDS)[number];

/** How it goes: by `cleanup`, by `cleanup` when that is said, or by somebody's hand. */
export type RemnantFate = 'cleanup' | 'asked' | 'hand';

export interface Remnant {
  /** `source`, `target`, `target NAME` of several, `here` (this machine), `log`, `redis`. */
  readonly place: string;
  readonly kind: RemnantKind;
  /** Unique among those of its kind and place. */
  readonly name: string;
  /** What is worth knowing of it: its size, what uses it. */
  readonly detail: string;
  /** Rows of the source, or parts of them, rest in it. */
  readonly holdsData: boolean;
  readonly fate: RemnantFate;
  /** What takes it away, where the command `cleanup` alone does not. */
  readonly how?: string;
  /** Somebody uses it: it cannot be taken away now. */
  readonly inUse?: string;
}

export function remnantId({ place, kind, name }: Pick<Remnant, 'place' | 'kind' | 'name'>): string {
  return `${place} ${kind} ${name}`;
}

/** In the order in which they go: what could still write or be written first, what says what was done last. */
export function inOrderOfRemoval(remnants: readonly Remnant[]): Remnant[] {
  const ORDER: readonly RemnantKind[] = [
    'slot',
    'publication',
    'trigger',
    'origin',
    'keys',
    'topics',
    'directory',
    'backup',
    'rows',
    'schema',
  ];
  const rank = ({ kind, place }: Remnant): number => ORDER.indexOf(kind) + (place.startsWith('target') ? 0.5 : 0);
  return remnants.toSorted((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
