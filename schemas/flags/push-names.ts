/**
 * The flags in Redis: names and form, for whoever pushes and whoever reads. A hash with the fields `epoch`, `state`, `version` and `document` (JSON), and a
 * channel of the same name on which each new document is published whole.
 */
export function pushKey(name: string): string {
  return `crossfade:${name}:flags`;
}
