/**
 * An http(s) address as people write it. Guarantee: what is asked, named or logged carries no password; one that stands in it (https://user:secret@host) is sent as the header
 * that browsers make of it. `fetch` refuses such an address whole, so what asks by it would never get an answer.
 */
export interface BareAddress {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A header that the file gives counts more. */
export function bareAddress(written: string, headers: Readonly<Record<string, string>> = {}): BareAddress {
  const address = new URL(written);
  if (address.username === '' && address.password === '') return { url: written, headers };
  const pair = `${decoded(address.username)}:${decoded(address.password)}`;
  address.username = '';
  address.password = '';
  const isGiven = Object.keys(headers).some((name) => name.toLowerCase() === 'authorization');
  const authorization = `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`;
  return { url: address.href, headers: isGiven ? headers : { ...headers, authorization } };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    // A lone percent sign stands for itself.
    return part;
  }
}
