/**
 * The broker's configuration. Guarantee: the same file starts a one-node cluster from Maven's jars and in a container; it is small,
 * answers at once, and creates no topic by itself.
 */

export interface KafkaListener {
  readonly protocol: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL';
  /** Of this listener only, without the prefix `listener.name.…`: `ssl.keystore.key`, `sasl.enabled.mechanisms`, `scram-sha-256.sasl.jaas.config`. */
  readonly properties?: Readonly<Record<string, string>>;
}

export interface KafkaOptions {
  /** message.max.bytes, the largest batch that the broker takes; its own default (1 MiB) when absent. */
  readonly messageMaxBytes?: number;
  /** Further lines of server.properties, over ours. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Beside PLAINTEXT, by name (capital letters). */
  readonly listeners?: Readonly<Record<string, KafkaListener>>;
  /** Passwords by user name, known for SCRAM-SHA-256 and SCRAM-SHA-512. */
  readonly scramUsers?: Readonly<Record<string, string>>;
  /** 384 when absent. */
  readonly heapMb?: number;
  /** From Maven's jars only: flags of the JVM in place of ours for a small server. */
  readonly jvmFlags?: readonly string[];
}

export interface Place {
  readonly dataDir: string;
  /** Where the broker listens: 127.0.0.1, or all of a container. */
  readonly bind: string;
  /** What clients are told. */
  readonly host: string;
  readonly controllerPort: number;
  /** By listener name; `PLAINTEXT` among them. */
  readonly ports: Readonly<Record<string, number>>;
}

/** A fixed one: a data directory formatted once can be copied for every broker. */
export const CLUSTER_ID = 'Q3Jvc3NmYWRlVGVzdHMxMg';

export function serverProperties(options: KafkaOptions, place: Place): string {
  const extra = Object.entries(options.listeners ?? {});
  const names = ['PLAINTEXT', ...extra.map(([name]) => name)];
  const at = (host: string): string => names.map((name) => `${name}://${host}:${place.ports[name]}`).join(',');
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${place.controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    listeners: `${at(place.bind)},CONTROLLER://127.0.0.1:${place.controllerPort}`,
    'advertised.listeners': at(place.host),
    'listener.security.protocol.map': [
      'CONTROLLER:PLAINTEXT',
      'PLAINTEXT:PLAINTEXT',
      ...extra.map(([name, { protocol }]) => `${name}:${protocol}`),
    ].join(','),
    'log.dirs': place.dataDir,
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '3',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '3',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    // After a SIGKILL the new process is refused until the old one's session has run out: 9 s otherwise.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'num.network.threads': '2',
    'num.io.threads': '4',
    'log.cleaner.dedupe.buffer.size': String(4 << 20), // 128 MiB otherwise
    'log.segment.delete.delay.ms': '1000',
  };
  if (options.messageMaxBytes !== undefined) properties['message.max.bytes'] = String(options.messageMaxBytes);
  for (const [name, listener] of extra)
    for (const [key, value] of Object.entries(listener.properties ?? {})) properties[`listener.name.${name.toLowerCase()}.${key}`] = value;
  return Object.entries({ ...properties, ...options.properties })
    .map(([key, value]) => `${key}=${escaped(value)}\n`)
    .join('');
}

/** PEM texts have lines. */
function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** Arguments of Kafka's storage tool. */
export function formatArguments(options: KafkaOptions, propertiesFile: string): string[] {
  const users = Object.entries(options.scramUsers ?? {}).flatMap(([name, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => ['--add-scram', `${mechanism}=[name=${name},password=${password}]`]),
  );
  return ['format', '--cluster-id', CLUSTER_ID, '--config', propertiesFile, ...users];
}
