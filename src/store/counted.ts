import type { Mark } from './mark.ts';
import type { CallOptions, Store } from './store.ts';

/**
 * A store whose requests are told, each when it is sent: what a reconcile costs is counted, not
 * reckoned. Tokens are not among them.
 */
export function countedStore(store: Store, sent: () => void): Store {
  const { findByMark, notificationKey } = store;
  const counting =
    <A extends unknown[], R>(call: (...given: A) => R) =>
    (...given: A): R => {
      sent();
      return call(...given);
    };
  return {
    ...store,
    list: counting(store.list),
    readMetadata: counting(store.readMetadata),
    read: counting(store.read),
    import: counting(store.import),
    reimport: counting(store.reimport),
    updateMetadata: counting(store.updateMetadata),
    delete: counting(store.delete),
    ...(findByMark && { findByMark: counting((mark: Mark, call?: CallOptions) => findByMark(mark, call)) }),
    ...(notificationKey && { notificationKey: counting((call?: CallOptions) => notificationKey(call)) }),
  };
}
