/** How a deployment ends where it does not end well: the exit codes of the program. */
export const exitCodes = { usage: 2, configuration: 3, service: 4 };

/**
 * Ends a deployment with a code. The messages are all that is wrong; none where it has been said
 * already.
 */
export class Stop extends Error {
  /** @param {number} code @param {readonly string[]} messages */
  constructor(code, ...messages) {
    super(messages.join('\n'));
    this.code = code;
    this.messages = messages;
  }
}

/**
 * Says what is wrong and sets the exit code. What is no `Stop` is a fault of ours, and is thrown
 * on.
 * @param {unknown} thrown
 */
export function end(thrown) {
  if (!(thrown instanceof Stop)) throw thrown;
  for (const message of thrown.messages) console.error(`certstandby: ${message}`);
  process.exitCode = thrown.code;
}
