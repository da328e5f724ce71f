// What can be changed for one deployment with --param="name=value", and what each may be.
// serverless.yml has the values that hold otherwise.

/** @param {number} least */
const wholeNumber = (least) => ({
  fits: (/** @type {string} */ text) => /^\d{1,9}$/.test(text) && Number(text) >= least,
  what: `a whole number of at least ${least}`,
});
/** @param {RegExp} pattern @param {string} what */
const form = (pattern, what) => ({ fits: (/** @type {string} */ text) => pattern.test(text), what });

/** @type {Readonly<Record<string, { fits: (text: string) => boolean, what: string }>>} */
export const parameters = {
  onRemoval: form(/^(Retain|Delete)$/, 'Retain or Delete'),
  deletionProtection: form(/^(true|false)$/, 'true or false'),
  alarmEmail: form(/^[^\s@]+@[^\s@]+$/, 'an e-mail address'),
  callbackRate: wholeNumber(1),
  callbackBurst: wholeNumber(1),
  lookers: wholeNumber(2),
  callbackReserved: wholeNumber(1),
  replicateSeconds: wholeNumber(70),
  visibilitySeconds: wholeNumber(1),
  secretsKey: form(/^arn:aws[\w-]*:kms:[\w-]+:\d{12}:key\/[\w-]+$/, 'the ARN of a KMS key (not of an alias)'),
  table: form(/^[\w.-]{3,255}$/, 'a name of 3 to 255 letters, digits and ._-'),
};

/**
 * Every mistake in the parameters that were given, in words.
 * @param {readonly string[]} given `name=value` each
 */
export function parameterMistakes(given) {
  return given.flatMap((text) => {
    const at = text.indexOf('=');
    const [name, value] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
    const parameter = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    if (parameter === undefined)
      return [`there is no parameter ${name}; there are: ${Object.keys(parameters).join(', ')}`];
    if (value === undefined) return [`--param wants ${name}=<value>`];
    return parameter.fits(value) ? [] : [`the parameter ${name} must be ${parameter.what}, not ${value}`];
  });
}
