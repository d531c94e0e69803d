/** Puts a request into the topic `NAME.requests`. Guarantee: it cannot be lost any more when the promise resolves. */
import type { Topic } from '#connectors/change-log/change-log.ts';
import type { ServiceRequest } from '#schemas/service-request.ts';

export async function askService(requests: Topic, request: ServiceRequest): Promise<void> {
  const payload = Buffer.from(JSON.stringify(request), 'utf8');
  const prefix = Buffer.allocUnsafe(4);
  prefix.writeUInt32BE(payload.length);
  await requests.append(0, { count: 1, parts: [prefix, payload] });
}
