/**
 * What of a database's URL must never be shown: the password before its host, and parameters that are secrets. Guarantee: pure; however a parameter's name is encoded, it is found;
 * what stands around a secret stays as it was written.
 */

/** As libpq calls them. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set(['password', 'sslpassword', 'oauth_client_secret']);
const SHOWN = '***';

/** `part`: of a URL's query, `name=value` as it stands there. */
export function isSecretParameter(part: string): boolean {
  const [name = ''] = new URLSearchParams(part).keys();
  return SECRET_PARAMETERS.has(name.toLowerCase());
}

/** Of one URL: a secret in it may have anything but an ampersand. */
export function maskParameters(url: string): string {
  return url.replaceAll(/([?&])([^=&]+)=([^&]*)/g, masked);
}

/** Of any text that has URLs in it. */
export function maskParametersIn(text: string): string {
  return text.replaceAll(/([?&])([^=&\s"'?]+)=([^&\s"']*)/g, masked);
}

/** Settings of an application's own (`-c app.token=…`) in libpq's `options` are for its policies and triggers, and may be secrets. */
const OWN_SETTING = /(?:-c\s*|--)[\w-]+\.[\w.-]+\s*=/;

function masked(whole: string, before: string, name: string): string {
  const [options] = new URLSearchParams(whole.slice(1)).getAll('options');
  const isSecret = isSecretParameter(`${name}=`) || (options !== undefined && OWN_SETTING.test(options));
  return isSecret ? `${before}${name}=${SHOWN}` : whole;
}
