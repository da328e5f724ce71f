import { asCodedError } from '../errors.ts';
import { errorFields } from '../log.ts';
import type { ChannelMeans, HeartbeatConfig } from './channel.ts';
import { ask } from './channel-call.ts';

/** Asks the watcher once. Throws `alert_unavailable` and `alert_refused`. */
export async function beat({ url }: Pick<HeartbeatConfig, 'url'>, means: ChannelMeans): Promise<void> {
  const gone =
    'The watcher knows no such check, or it is switched off: let alerts.heartbeat.url lead to the URL of one.';
  await ask({ who: 'the heartbeat of alerts', about: 'heartbeat' }, means, {
    url,
    remedies: { 401: gone, 403: gone, 404: gone, 410: gone },
  });
}

/**
 * Asks it again and again: `after` is called after each round of alerts, with whether all links
 * could be looked at. A round that could not see everything is silence, as is one that never ends.
 * Never throws: a watcher that is not there is in the log, and would say so itself.
 */
export function heartbeat(config: HeartbeatConfig, means: ChannelMeans) {
  let lastAt = Number.NEGATIVE_INFINITY;
  return {
    async after(isWhole: boolean): Promise<void> {
      const now = means.now();
      // A clock that was set back would hold it up.
      if (!isWhole || (now >= lastAt && now - lastAt < config.everyMs)) return;
      try {
        await beat(config, means);
        lastAt = now;
      } catch (thrown) {
        if (!means.signal.aborted) means.log('error', 'heartbeat_failed', errorFields(asCodedError(thrown)));
      }
    },
  };
}
