import type { Reading, StoredCertificate } from '../store/store.ts';

/** The private keys that a pass has read. */
export interface KeysRead {
  /**
   * The same reading; its key is overwritten when the pass is over, or at once if it answers only
   * after that.
   */
  keep(reading: Reading<StoredCertificate>): Reading<StoredCertificate>;
  /**
   * The pass is over. A write that is still being prepared finds its key gone and is not sent:
   * nobody waits for it any more.
   */
  wipe(): void;
}

export function keysRead(): KeysRead {
  const contents = new Set<StoredCertificate['content']>();
  let over = false;
  return {
    keep(reading) {
      if (reading.state !== 'present') return reading;
      if (over) reading.value.content.privateKey?.pem.wipe();
      else contents.add(reading.value.content);
      return reading;
    },
    wipe() {
      over = true;
      for (const { privateKey } of contents) privateKey?.pem.wipe();
      contents.clear();
    },
  };
}
