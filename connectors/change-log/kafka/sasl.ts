/**
 * SASL of kafkajs from the settings. Guarantee: an OAuth token is asked for once and used by all connections until shortly before it
 * runs out; a setting that the mechanism needs and that is absent is named.
 */
import type { OauthbearerProviderResponse, SASLOptions } from 'kafkajs';
import type { KafkaSasl } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** A token is asked for again when this much of its time is left: a connection made with it must outlive its handshake. */
const RENEW_BEFORE_MS = 30_000;
/** Of a token whose end the server does not tell. */
const UNKNOWN_LIFE_MS = 60_000;
const TOKEN_TIMEOUT_MS = 10_000;

export function saslOf(sasl: KafkaSasl): SASLOptions {
  const { mechanism } = sasl;
  if (mechanism === 'oauthbearer') return { mechanism, oauthBearerProvider: tokens(sasl) };
  return { mechanism, username: wanted(sasl, 'username'), password: wanted(sasl, 'password') };
}

function wanted(sasl: KafkaSasl, entry: 'username' | 'password' | 'tokenUrl' | 'clientId' | 'clientSecret'): string {
  const value = sasl[entry];
  if (value === undefined) throw new PipelineError('CF-3006', `log.kafka.sasl.${entry} is missing: mechanism ${sasl.mechanism} needs it`);
  return value;
}

/** Client credentials (RFC 6749, 4.4). */
function tokens(sasl: KafkaSasl): () => Promise<OauthbearerProviderResponse> {
  const [url, id, secret] = [wanted(sasl, 'tokenUrl'), wanted(sasl, 'clientId'), wanted(sasl, 'clientSecret')];
  const body = new URLSearchParams({ grant_type: 'client_credentials', ...(sasl.scope !== undefined && { scope: sasl.scope }) });
  const authorization = `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;
  let held: { readonly value: string; readonly untilMs: number } | undefined;
  let asking: Promise<OauthbearerProviderResponse> | undefined;
  const ask = async (): Promise<OauthbearerProviderResponse> => {
    const answer = await tokenFrom(url, { authorization, body });
    const lifeMs = answer.lifeMs ?? UNKNOWN_LIFE_MS;
    held = { value: answer.value, untilMs: Date.now() + lifeMs - Math.min(RENEW_BEFORE_MS, lifeMs / 2) };
    return { value: answer.value };
  };
  return async () => {
    if (held !== undefined && Date.now() < held.untilMs) return { value: held.value };
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}

interface TokenRequest {
  readonly authorization: string;
  readonly body: URLSearchParams;
}

async function tokenFrom(url: string, { authorization, body }: TokenRequest): Promise<{ value: string; lifeMs: number | undefined }> {
  let why: string;
  try {
    const response = await fetch(url, { method: 'POST', headers: { authorization }, body, signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS) });
    const answer: unknown = response.ok ? await response.json() : undefined;
    if (typeof answer === 'object' && answer !== null && 'access_token' in answer && typeof answer.access_token === 'string') {
      const seconds = 'expires_in' in answer ? Number(answer.expires_in) : Number.NaN;
      return { value: answer.access_token, lifeMs: Number.isFinite(seconds) ? seconds * 1000 : undefined };
    }
    why = response.ok ? 'its answer holds no access_token' : `it answered with status ${response.status}`;
  } catch (error) {
    why = messageOf(error);
  }
  throw new PipelineError('CF-3006', `log.kafka.sasl.tokenUrl gave no token: ${why}`, {
    remedy: 'Check tokenUrl, clientId, clientSecret and scope under log.kafka.sasl.',
  });
}
