import { exitCodes, Stop } from '../stop.mjs';

/** The platform did not answer, or refused: says what was asked, what was found, and what to do. */
const refusal = (/** @type {string} */ message) => new Stop(exitCodes.service, message);

const answerWithinMs = 30_000;

/**
 * The few questions of the API that are asked beside the plugin (Apache OpenWhisk, "REST API").
 * @param {{ apiHost: string, auth: string, namespace: string }} settings
 */
export function askPlatform({ apiHost, auth, namespace: wanted }) {
  const url = (/^https?:\/\//.test(apiHost) ? apiHost : `https://${apiHost}`).replace(/\/+$/, '');
  const headers = {
    authorization: `Basic ${Buffer.from(auth).toString('base64')}`,
    'content-type': 'application/json',
    // A connection that is kept for the next question would be ended by the platform while the
    // plugin is at work, which may take minutes: the next question would be sent into it, and get
    // no answer.
    connection: 'close',
  };

  /** @param {string} method @param {string} path @param {string} [body] */
  async function ask(method, path, body) {
    const signal = AbortSignal.timeout(answerWithinMs);
    const request = { method, headers, signal, redirect: /** @type {const} */ ('error') };
    try {
      return await fetch(`${url}/api/v1/${path}`, body === undefined ? request : { ...request, body });
    } catch (thrown) {
      const { cause, message } = /** @type {Error & { cause?: Error }} */ (thrown);
      throw refusal(
        `${url} did not answer ${method} ${path} (${cause?.message ?? message}). Is OW_APIHOST right, and is its certificate of an authority that Node trusts (NODE_EXTRA_CA_CERTS)?`,
      );
    }
  }

  /** @param {Response} response @param {string} what */
  function refused({ status }, what) {
    const why = status === 401 || status === 403 ? ': OW_AUTH is not accepted there' : '';
    return refusal(`${url} answered ${status} to ${what}${why}`);
  }

  return {
    url,

    /**
     * The namespace to deploy to: the one that was asked for, if the key opens it, else the one
     * that the key belongs to. Throws `Stop`.
     */
    async namespace() {
      const response = await ask('GET', 'namespaces');
      if (!response.ok) throw refused(response, 'GET namespaces');
      const opened = await response.json().catch(() => undefined);
      if (!Array.isArray(opened) || opened.length === 0)
        throw refusal(`${url} named no namespace for this key: is OW_APIHOST the address of an OpenWhisk API?`);
      if (wanted === '_') return String(opened[0]);
      if (opened.includes(wanted)) return wanted;
      throw refusal(`OW_NAMESPACE is ${wanted}, and the key opens ${opened.join(', ')}`);
    },

    /** Whether something is there. Throws `Stop`. @param {string} namespace @param {string} path */
    async exists(namespace, path) {
      const asked = `namespaces/${encodeURIComponent(namespace)}/${path}`;
      const response = await ask('GET', asked);
      await response.body?.cancel();
      if (response.ok || response.status === 404) return response.ok;
      throw refused(response, `GET ${asked}`);
    },

    /**
     * Has an action begun, and does not wait for its end. Throws `Stop`. @param {string}
     * namespace @param {string} action
     */
    async invoke(namespace, action) {
      const asked = `namespaces/${encodeURIComponent(namespace)}/actions/${action}?blocking=false`;
      const response = await ask('POST', asked, '{}');
      await response.body?.cancel();
      if (!response.ok) throw refused(response, `POST ${asked}`);
    },
  };
}
