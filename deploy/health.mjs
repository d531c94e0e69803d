/**
 * The image's health check. Guarantee: exit 0 only when the service in this container answers 200; the token is the container's own
 * (`CROSSFADE_TOKEN`, else the one kept in the data directory), because health is behind it off loopback.
 */
import { globSync, readFileSync } from 'node:fs';

const url = process.env.CROSSFADE_HEALTH_URL ?? 'http://127.0.0.1:7400/healthz';
const token = process.env.CROSSFADE_TOKEN ?? readToken();

function readToken() {
  const [path] = globSync('/var/lib/crossfade/.crossfade/*/token');
  return path === undefined ? '' : readFileSync(path, 'utf8').trim();
}

const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(3000) });
process.exitCode = answer.ok ? 0 : 1;
if (!answer.ok) process.stdout.write(`${answer.status} ${await answer.text()}\n`);
