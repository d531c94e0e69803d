/** Control of services over Kafka for one command. Guarantee: closed with `await using`. */
import { openKafka, type KafkaOptions } from './open-kafka.ts';
import { RemoteControl } from './remote-control.ts';

export interface OpenRemoteControl extends AsyncDisposable {
  readonly control: RemoteControl;
}

/** @throws PipelineError CF-3001, CF-3006 */
export async function openRemoteControl(options: KafkaOptions & { readonly signal: AbortSignal }): Promise<OpenRemoteControl> {
  const kafka = await openKafka(options, 'command');
  try {
    const { file, signal } = options;
    const control = new RemoteControl({ file, signal, requests: await kafka.requests(), progress: await kafka.progress() });
    const dispose = async (): Promise<void> => {
      await control.close();
      await kafka.close();
    };
    return { control, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await kafka.close();
    throw error;
  }
}
