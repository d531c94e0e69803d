/** The address of a schema registry as the file has it. Guarantee: `host` carries no password, so it may stand in any message. */
export interface RegistryAddress {
  readonly host: string;
  readonly username: string;
  readonly password: string;
}

export function registryAddress(url: string): RegistryAddress {
  const address = new URL(url);
  const [username, password] = [decodeURIComponent(address.username), decodeURIComponent(address.password)];
  address.username = '';
  address.password = '';
  return { host: address.href.replace(/\/+$/, ''), username, password };
}
