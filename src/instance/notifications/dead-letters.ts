import { invalid } from '../rows/fields.ts';
import { parseQuery, wholeNumber } from '../rows/list-query.ts';
import type { Channels } from './channels.ts';
import type { Deliveries } from './delivery.ts';
import { isChannelEvent } from './events.ts';
import { type DeadLetter, type NotificationRows, noSuchLetter } from './notification-rows.ts';

/** A notification that was given up, as the REST API shows it. Moments are epoch milliseconds. */
interface DeadLetterObject {
  readonly id: string;
  readonly channel: string;
  readonly event_type: string;
  readonly event_time: number;
  /** CRNs of the certificates concerned. */
  readonly certificates: readonly string[];
  readonly attempts: number;
  readonly reason: string;
  readonly failed_on: number;
}

const largestPage = 200;

export interface DeadLetters {
  /** A page, oldest event first. Query: `page_size`, and `start_after_id` from the page before. */
  list(query: string): Promise<{
    readonly dead_letters: readonly DeadLetterObject[];
    readonly next_id: string;
  }>;
  /**
   * Throws `instance_not_found` if there is no such letter, or its channel is gone;
   * `instance_request_invalid` if that is switched off.
   */
  resend(id: string): Promise<{
    readonly message: string;
  }>;
}

/**
 * The notifications of one instance that could not be delivered: listed, and sent again. Our own:
 * Certificate Manager has no such thing.
 */
export function deadLetters(context: {
  readonly rows: NotificationRows;
  readonly channels: Channels;
  readonly deliveries: Deliveries;
  readonly now: () => number;
}): DeadLetters {
  const { rows, channels, deliveries, now } = context;
  return {
    async list(
      query: string,
    ): Promise<{ readonly dead_letters: readonly DeadLetterObject[]; readonly next_id: string }> {
      const parts = parseQuery(query);
      const size = wholeNumber(parts, 'page_size', largestPage);
      if (size < 1 || size > largestPage) throw invalid(`page_size is not between 1 and ${largestPage}`);
      const after = parts.get('start_after_id') ?? '';
      if (!/^[\w-]{0,64}$/.test(after)) throw invalid('start_after_id is no id of a dead letter');
      const { letters, last } = await rows.letters({ ...(after !== '' && { after }), size, now: now() });
      return { dead_letters: letters.map(objectFor), next_id: last ?? '' };
    },

    async resend(id: string): Promise<{ readonly message: string }> {
      const letter = await rows.letter(id);
      if (letter === undefined) throw noSuchLetter(id);
      const channel = await channels.get(letter.channel);
      if (!channel.is_active && !isChannelEvent(letter.event.type)) {
        throw invalid(`channel ${channel.id} is switched off; switch it on before`);
      }
      await deliveries.resend(letter, channel);
      return { message: 'The notification is on its way again.' };
    },
  };
}

function objectFor({ id, channel, event, attempts, reason, at }: DeadLetter): DeadLetterObject {
  return {
    id,
    channel,
    event_type: event.type,
    event_time: event.at,
    certificates: isChannelEvent(event.type) ? [] : event.items.map(({ cert_crn }) => cert_crn),
    attempts,
    reason,
    failed_on: at,
  };
}
