/** Put in by infra/build.mjs, from package.json. */
declare const CERTSTANDBY_VERSION: string | undefined;

export const version = typeof CERTSTANDBY_VERSION === 'undefined' ? '0.0.0-unbuilt' : CERTSTANDBY_VERSION;
