import type { Runtime } from '../runtime.ts';
import type { ChannelMeans } from './channel.ts';
import type { OpenChannel } from './deliver.ts';

/**
 * Sends a message that says that nothing is wrong: that it arrives proves the channel. Throws what
 * the channel throws.
 */
export async function sendTest(
  { config, kind }: OpenChannel,
  means: ChannelMeans,
  { newId, now }: Pick<Runtime, 'newId' | 'now'>,
): Promise<void> {
  const at = now();
  const words = [
    `this is a test of the channel ${config.name}; nothing is wrong`,
    'What is wrong with copies of certificates will be told here.',
  ];
  const told = { id: `test:${config.name}`, event: 'test', severity: 'warning', since: at, words } as const;
  await kind.send(config as never, { id: `msg_${newId()}`, at, told: [told] }, means);
}
