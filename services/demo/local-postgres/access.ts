/** Who may connect to a local server, and with which certificate. Guarantee: files are written with the modes PostgreSQL insists on. */
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { User } from './run-as.ts';

/** PEM texts. `ca` asks clients for a certificate where pg_hba.conf says so. */
export interface SslFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

const TRUST = ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'];

export function writeAccessRules(dataDir: string, lines: readonly string[] = TRUST): void {
  writeFileSync(join(dataDir, 'pg_hba.conf'), `${lines.join('\n')}\n`);
}

/** @returns the server settings that turn TLS on. */
export function writeSslFiles(dataDir: string, files: SslFiles, user: User | undefined): Readonly<Record<string, string>> {
  const settings: Record<string, string> = { ssl: 'on' };
  const write = (setting: string, name: string, text: string | undefined): void => {
    if (text === undefined) return;
    const path = join(dataDir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    if (user !== undefined) chownSync(path, user.uid, user.gid);
    settings[setting] = name;
  };
  write('ssl_cert_file', 'server.crt', files.cert);
  write('ssl_key_file', 'server.key', files.key);
  write('ssl_ca_file', 'root.crt', files.ca);
  return settings;
}
