import type { Mark } from './mark.ts';
import type { CallOptions, Store } from './store.ts';

/** A store whose requests are told, each when it is sent: what a reconcile costs is counted, not reckoned. Tokens are not among them. */
export function countedStore(store: Store, sent: () => void): Store {
  const { findByMark, notificationKey } = store;
  const told =
    <A extends unknown[], R>(call: (...given: A) => R) =>
    (...given: A): R => {
      sent();
      return call(...given);
    };
  return {
    ...store,
    list: told(store.list),
    readMetadata: told(store.readMetadata),
    read: told(store.read),
    import: told(store.import),
    reimport: told(store.reimport),
    updateMetadata: told(store.updateMetadata),
    delete: told(store.delete),
    ...(findByMark && { findByMark: told((mark: Mark, call?: CallOptions) => findByMark(mark, call)) }),
    ...(notificationKey && { notificationKey: told((call?: CallOptions) => notificationKey(call)) }),
  };
}
