import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { confluentRegistry } from '#connectors/registry/confluent-registry.ts';
import { avroFormat } from '#schemas/wire/avro-format.ts';
import type { WireColumn, WireShape } from '#schemas/wire/wire.ts';
import { describeWithRegistry } from '#test/support/kafka/describe-with-kafka.ts';
import { sharedRegistry } from '#test/support/kafka/shared-servers.ts';
import { thereAndBack } from '#test/support/wire-rows.ts';

function shapeOf(types: Readonly<Record<string, number>>): WireShape {
  const columns = Object.entries(types).map(([name, typeOid]): WireColumn => ({ name, typeOid, typmod: -1, isKey: name === 'id', isNullable: true })); // prettier-ignore
  return { topic: 'registry_test.public.item', database: 'shop', schema: 'public', table: 'item', columns };
}

async function level(url: string, subject: string): Promise<unknown> {
  const response = await fetch(`${url}/config/${subject}`);
  return response.ok ? ((await response.json()) as { readonly compatibilityLevel: unknown }).compatibilityLevel : response.status;
}

async function setLevel(url: string, subject: string, compatibility: string): Promise<void> {
  const headers = { 'content-type': 'application/vnd.schemaregistry.v1+json' };
  const response = await fetch(`${url}/config/${subject}`, { method: 'PUT', headers, body: JSON.stringify({ compatibility }) });
  expect(response.ok).toBe(true);
}

describeWithRegistry('a schema registry', () => {
  test('keeps what writers register, and gives it to readers as it was', async () => {
    const server = await sharedRegistry();
    const [writer, reader] = [confluentRegistry(server.url), confluentRegistry(server.url)];
    const format = avroFormat(writer, { name: 'shop' });
    const shape = shapeOf({ id: 20, 'house No': 25, at: 1184 });
    const encoder = await format.encoder(shape);
    const texts = ['9007199254740993', 'text', '2024-10-27 00:30:00+00'];
    expect(await thereAndBack(avroFormat(reader, { name: 'shop' }), encoder, { after: texts })).toMatchObject({
      after: texts,
      key: [texts[0]],
    });
    expect(await level(server.url, 'registry_test.public.item-value')).toBe('BACKWARD');

    const text = JSON.stringify({ type: 'record', name: 'R', fields: [], 'connect.name': 'R', more: { deep: [1] } });
    const id = await writer.register('other-value', text);
    expect(await confluentRegistry(server.url).register('other-value', text)).toBe(id);
    expect(JSON.parse(await reader.schema(id))).toEqual(JSON.parse(text));

    // A column more is compatible; a type that changes is not, unless the subject says so.
    await avroFormat(writer, { name: 'shop' }).encoder(shapeOf({ id: 20, 'house No': 25, at: 1184, added: 23 }));
    const changed = shapeOf({ id: 20, 'house No': 16, at: 1184 });
    const refused = avroFormat(confluentRegistry(server.url), { name: 'shop' }).encoder(changed);
    await expect(refused).rejects.toMatchObject({
      code: 'CF-3006',
      message: expect.stringContaining('registry_test.public.item-value'),
      remedy: expect.stringContaining('compatibility'),
    });
    await setLevel(server.url, 'registry_test.public.item-value', 'NONE');
    await avroFormat(confluentRegistry(server.url), { name: 'shop' }).encoder(changed);
    expect(await level(server.url, 'registry_test.public.item-value')).toBe('NONE');

    await expect(reader.schema(4_000_000)).rejects.toMatchObject({ code: 'CF-3006', message: expect.stringContaining('4000000') });
    await writer.close();
    await reader.close();
  });
});

test('trouble of the registry is waited out; a refusal is not', async () => {
  const answers = [503, 500, 200];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`);
    response.writeHead(answers.shift() ?? 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ schema: '"int"', message: 'no' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://me:s%20ecret@127.0.0.1:${(server.address() as AddressInfo).port}/api/`;
  const registry = confluentRegistry(url);
  expect(await registry.schema(1)).toBe('"int"');
  expect(await registry.schema(1)).toBe('"int"');
  expect(asked).toEqual(Array.from({ length: 3 }, () => `Basic ${btoa('me:s ecret')} /api/schemas/ids/1`));
  await expect(registry.schema(2)).rejects.toMatchObject({ code: 'CF-3006', message: expect.not.stringContaining('ecret') });
  expect(asked.length).toBe(4);
  await registry.close();
  server.closeAllConnections();
  server.close();
  await expect(confluentRegistry(url, { patienceMs: 150 }).schema(1)).rejects.toMatchObject({ code: 'CF-3006' });
});
