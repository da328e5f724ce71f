import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { AuditRows } from '../audit/audit-rows.ts';
import type { Flaw } from '../audit/chain.ts';
import type { Checkpoint } from '../audit/checkpoint.ts';
import { type Examination, examineTrail, keyName } from '../audit/examine.ts';
import { factKinds } from '../audit/line.ts';
import { personHere } from '../audit/person.ts';
import { newestOf, type ReadLine, readTrail } from '../audit/read.ts';
import { lineWords, personWords } from '../audit/words.ts';
import { type AuditConfig, type Config, defaultAudit, loadConfig } from '../config.ts';
import { CodedError, errorRegistry } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { milliseconds } from '../settings.ts';
import { interrupted } from './interrupt.ts';
import { readSignedFile } from './named-file.ts';
import { configOption, wholeNumber } from './options.ts';
import { commandOutput, type Host, type Output, type OutputOptions, withOutputOptions } from './output/output.ts';
import { clean, count } from './output/text.ts';

interface AuditOptions extends OutputOptions {
  readonly config: string;
}

interface ReadOptions extends AuditOptions {
  readonly since?: string;
  readonly link?: string;
  readonly kind?: string;
  readonly writer?: string;
}

interface ListOptions extends ReadOptions {
  readonly most: number;
}

interface ExportOptions extends ReadOptions {
  readonly people: boolean;
}

interface VerifyOptions extends AuditOptions {
  readonly checkpoint?: string;
  readonly key?: readonly string[];
}

interface CheckpointOptions extends AuditOptions {
  readonly key?: readonly string[];
}

interface EraseOptions extends AuditOptions {
  readonly user: string;
}

const unsoundExit = errorRegistry.audit_checkpoint_unusable.exit;
const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** `certstandby audit list|verify|export|checkpoint|erase`. */
export function auditCommand(host: Host): Command {
  const audit = new Command('audit').description(
    'the audit trail: what was done, by whom, and that nothing of it was altered',
  );
  const part = (name: string, description: string) =>
    withOutputOptions(audit.command(name)).description(description).addOption(configOption());
  const reading = (command: Command) =>
    command
      .option('--since <duration>', 'only what happened within this time, such as 12h or 30d')
      .option('-l, --link <name>', 'only of this link')
      .addOption(new Option('--kind <kind>', 'only lines of this kind').choices(factKinds))
      .option('--writer <chain>', 'only this chain');

  reading(part('list', 'what was done, the newest last'))
    .option('--most <lines>', 'so many lines at most', wholeNumber, 50)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby audit list\n  certstandby audit list --kind act --since 30d\n  certstandby audit list --link shop --most 200',
    )
    .action((options: ListOptions) => list(options, host));
  part('verify', 'prove that no line was removed, changed, put elsewhere or forged; name those that were')
    .option('--checkpoint <file>', 'also prove that the trail goes on from this checkpoint, which was kept elsewhere')
    .option('--key <file>', 'a public key whose checkpoints are trusted, instead of audit.folder/signing.pub', collect)
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby audit verify' +
        '\n  certstandby audit verify --checkpoint /mnt/safe/audit-2026-12-01.json --key /mnt/safe/signing.pub' +
        '\n\nExits 0 if the trail is as it was written, 6 if not, and names each flaw by chain and line. That lines were written anew, or' +
        '\ncut off, together with all that tells of them on the table can be seen only with a checkpoint that was kept elsewhere.',
    )
    .action((options: VerifyOptions) => verify(options, host));
  reading(part('export', 'the trail as JSON, one event a line, in fields of Elastic Common Schema'))
    .option('--no-people', 'leave out who did it')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby audit export > audit.jsonl\n  certstandby audit export --since 1d --no-people',
    )
    .action((options: ExportOptions) => exportTrail(options, host));
  part('checkpoint', 'sign how far each chain goes, into a file that is to be kept elsewhere')
    .argument('<file>', 'the file, which must not be there yet')
    .option('--key <file>', 'a public key whose checkpoints are trusted, beside the one in audit.folder', collect)
    .addHelpText(
      'after',
      '\nExample:\n  certstandby audit checkpoint audit-2026-12-01.json' +
        '\n\nThe trail is verified first. Where it is not sound the file is written all the same, and the command exits with 6.' +
        '\nKeep it, and audit/signing.pub, where nobody gets who may change the table.',
    )
    .action((file: string, options: CheckpointOptions) => checkpoint(file, options, host));
  part('erase', 'erase who did what, of one user, and keep what was done')
    .requiredOption('--user <name>', 'the name of the user, as audit list shows it')
    .addHelpText(
      'after',
      '\nExample:\n  certstandby audit erase --user sam' +
        '\n\nThe chains stay provable: they hold a salted digest of the person, and a line says that it was erased.',
    )
    .action((options: EraseOptions) => erase(options, host));
  return audit;
}

/** Does something with the rows of the trail that a configuration names. */
async function withTrail<T>(
  options: AuditOptions,
  host: Host,
  work: (rows: AuditRows, config: Config & { readonly audit: AuditConfig }) => Promise<T>,
): Promise<T> {
  const config = loadConfig(options.config, host.env);
  const { openTrail } = await import('../compose/audit.ts');
  const trail = await openTrail(config.table);
  try {
    return await work(trail.rows, { ...config, audit: config.audit ?? defaultAudit });
  } finally {
    await trail.close();
  }
}

function wantedBy({ since, link, kind, writer }: ReadOptions) {
  const sinceMs = since === undefined ? undefined : milliseconds(since);
  if (since !== undefined && sinceMs === undefined)
    throw new CodedError('usage', '--since takes a duration such as 12h or 30d');
  return { since: sinceMs === undefined ? undefined : runtime.now() - sinceMs, link, kind, writer };
}

function tellUnreadable(number: number, output: Output, host: Host): void {
  if (number === 0) return;
  output.finding(
    `  ${count(number, 'row or line', 'rows or lines')} cannot be read: certstandby audit verify names them`,
  );
  host.exitCode = unsoundExit;
}

function list(options: ListOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  return withTrail(options, host, async (rows, { audit }) => {
    let unreadable = 0;
    const lines = readTrail(rows, wantedBy(options), () => {
      signal.throwIfAborted();
      unreadable += 1;
    });
    const shown = await newestOf(lines, options.most);
    for (const read of shown) showLine(read, output);
    if (shown.length === 0)
      output.line(audit.write ? 'nothing is told yet' : 'audit.write is false: no trail is written');
    tellUnreadable(unreadable, output, host);
  });
}

function showLine({ line, person, digest }: ReadLine, output: Output): void {
  const { writer, number, at, kind, happenedAt, link } = line;
  output.item({ ...line, digest, person });
  const moment = happenedAt === undefined ? at : new Date(happenedAt).toISOString();
  const who = person === undefined ? '' : `, by ${personWords(person)}`;
  output.line(
    `${moment}  ${kind.padEnd(8)} ${link === undefined ? '' : `${clean(link)}: `}${lineWords(line)}${who}`,
    `  ${output.paint.faint(`${clean(writer)} line ${number}`)}`,
  );
}

function exportTrail(options: ExportOptions, host: Host): Promise<void> {
  const output = commandOutput({ ...options, json: true }, host, runtime.now);
  const signal = interrupted(host);
  return withTrail(options, host, async (rows) => {
    const { ecsEvent } = await import('../audit/ecs.ts');
    let unreadable = 0;
    const lines = readTrail(rows, wantedBy(options), () => {
      unreadable += 1;
    });
    for await (const read of lines) {
      signal.throwIfAborted();
      const { person: _person, ...rest } = read;
      output.item(ecsEvent(options.people ? read : rest));
    }
    if (unreadable === 0) return;
    output.log('error', 'audit_unreadable', { rows: unreadable });
    host.exitCode = unsoundExit;
  });
}

/**
 * The keys whose signatures count: those that are given, else the one in the folder of the trail.
 */
async function trustedKeys(given: readonly string[] | undefined, folder: string) {
  const { trustedKey } = await import('../signing/signed-text.ts');
  const own = join(folder, 'signing.pub');
  const paths = given ?? (existsSync(own) ? [own] : []);
  return paths.map((path) => trustedKey(readSignedFile(path, 'the public key', limits.signingKeyBytes)));
}

async function examine(
  rows: AuditRows,
  given: { readonly trusted: Awaited<ReturnType<typeof trustedKeys>>; readonly checkpoint?: Checkpoint | undefined },
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<Examination> {
  const bar = output.progress('reading the trail');
  try {
    return await examineTrail(rows, {
      ...given,
      now: runtime.now(),
      progress(lines) {
        signal.throwIfAborted();
        bar.advance(lines);
      },
    });
  } finally {
    bar.end();
  }
}

function verify(options: VerifyOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  return withTrail(options, host, async (rows, { audit }) => {
    const trusted = await trustedKeys(options.key, audit.folder);
    const { readCheckpointFile } = await import('../audit/checkpoint.ts');
    const kept =
      options.checkpoint === undefined
        ? undefined
        : readCheckpointFile(
            readSignedFile(options.checkpoint, 'the checkpoint', limits.auditCheckpointBytes),
            trusted,
          );
    const found = await examine(rows, { trusted, checkpoint: kept }, { output, signal });
    host.exitCode = tellExamination(found, kept, output);
  });
}

/** Says what a look at the trail came to. Answers the exit code. */
function tellExamination(found: Examination, kept: Checkpoint | undefined, output: Output): number {
  const { chains, lines, flaws, checkpoints, checkpointAt, ahead, unwitnessed, before } = found;
  for (const flaw of flaws) {
    output.item({ flaw });
    output.finding(`  ${output.paint.bad(flawWords(flaw))}`);
  }
  const exit = flaws.length === 0 ? 0 : unsoundExit;
  const say = exit === 0 ? output.line : output.finding;
  const sum = `${count(lines, 'line')} in ${count(chains.length, 'chain')}`;
  if (flaws.length > 0) say(`${sum}: ${count(flaws.length, 'flaw')}`);
  else say(lines === 0 ? 'no line is on the table: there is nothing to look at' : `${sum}: as they were written`);
  if (before !== undefined)
    output.line(`  chains that ended before ${new Date(before).toISOString()} are kept no longer`);
  const signed =
    checkpointAt === undefined
      ? 'no checkpoint of a trusted key is on the table'
      : `${count(checkpoints, 'checkpoint')} on the table, the last of ${new Date(checkpointAt).toISOString()}`;
  output.line(`  ${signed}; ${count(unwitnessed, 'line')} of which no checkpoint tells`);
  if (ahead > 0)
    output.line(
      `  ${count(ahead, 'checkpoint')} of them signed under a clock that was ahead; what they tell of lines counts`,
    );
  if (kept === undefined)
    output.line(
      '  Whether lines were written anew or cut off, and the checkpoints on the table that tell of them taken away, can be seen only with --checkpoint.',
    );
  else
    output.line(
      `  compared with the checkpoint of ${new Date(kept.at).toISOString()}; of lines after it only what is on the table tells`,
    );
  output.item({
    sound: exit === 0,
    lines,
    chains: chains.length,
    flaws: flaws.length,
    checkpoints,
    checkpointAt,
    ahead,
    unwitnessed,
    before,
    comparedWith: kept?.at,
    exit,
  });
  return exit;
}

function flawWords({ kind, writer, number, to, words }: Flaw): string {
  const place = writer === undefined ? '' : ` ${clean(writer)}`;
  const which = number === undefined ? '' : to === undefined ? ` line ${number}` : ` lines ${number} to ${to}`;
  return `${kind}${place}${which}: ${words}`;
}

function checkpoint(file: string, options: CheckpointOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  const signal = interrupted(host);
  return withTrail(options, host, async (rows, { audit }) => {
    const [{ openSigningKey }, { trustedKey }, { checkpointFile, signCheckpoint }] = await Promise.all([
      import('../signing/signing-key.ts'),
      import('../signing/signed-text.ts'),
      import('../audit/checkpoint.ts'),
    ]);
    const { privateKey, publicKey } = openSigningKey(audit.folder, 'audit_key_unusable');
    try {
      const trusted = [trustedKey(publicKey), ...(await trustedKeys(options.key ?? [], audit.folder))];
      const found = await examine(rows, { trusted }, { output, signal });
      for (const flaw of found.flaws) output.finding(`  ${output.paint.bad(flawWords(flaw))}`);
      const at = runtime.now();
      // Of a chain that is being removed, or whose last line is none, there is no end to sign.
      const chains = found.chains
        .filter(({ lines, digest }) => lines > 0 && digest !== '')
        .map(({ writer, last, digest, lastAt }) => ({ writer, last, digest, lastAt }));
      writeNew(file, checkpointFile(signCheckpoint({ at, chains }, privateKey.reveal())));
      host.exitCode = found.flaws.length === 0 ? 0 : unsoundExit;
      output.item({ file, at, chains: chains.length, lines: found.lines, flaws: found.flaws, key: keyName(publicKey) });
      output.line(
        `${file}: ${count(found.lines, 'line')} in ${count(chains.length, 'chain')}, signed with ${keyName(publicKey)}`,
        '  keep it elsewhere, with signing.pub of that key',
      );
    } finally {
      privateKey.wipe();
    }
  });
}

function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o644 });
  } catch (cause) {
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'is there already' : `cannot be written (${code})`;
    throw new CodedError('usage', `${path} ${why}: give the path of a new file`, { cause });
  }
}

/** How much of an erasure one line has room for, in bytes of JSON, with room to spare. */
const erasedBytes = 32 * 1024;

/** Places of lines, in lists of which each has room in one line. */
function listsOf(places: readonly string[]): readonly (readonly string[])[] {
  const lists: string[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const place of places) {
    const bytes = Buffer.byteLength(JSON.stringify(place)) + 1;
    if (size + bytes > erasedBytes) {
      lists.push([]);
      size = 0;
    }
    lists.at(-1)?.push(place);
    size += bytes;
  }
  return lists;
}

function erase(options: EraseOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  return withTrail(options, host, async (rows, { audit }) => {
    if (!audit.write)
      throw new CodedError('audit_not_kept', 'nothing is erased where no line can tell of it: audit.write is false');
    const { readPerson } = await import('../audit/read.ts');
    const { auditWriter } = await import('../audit/writer.ts');
    const found: { readonly writer: string; readonly number: number }[] = [];
    let unreadable = 0;
    for await (const { writer, number, person } of rows.people()) {
      const known = person && readPerson(person.text);
      if (known === undefined) unreadable += 1;
      const { user, sudoUser } = known ?? {};
      if (user === options.user || sudoUser === options.user) found.push({ writer, number });
    }
    if (found.length === 0) {
      const but = unreadable === 0 ? '' : `; ${count(unreadable, 'row')} of persons cannot be read`;
      throw new CodedError('usage', `the trail knows no user ${clean(options.user)}${but}`);
    }
    // First that it is told: what is gone without a word is a flaw.
    const writer = auditWriter({ rows, runtime, log: output.log, program: 'audit erase' });
    for (const erased of listsOf(found.map((place) => `${place.writer}/${place.number}`)))
      writer.add({ kind: 'act', command: 'audit erase', erased }, personHere(host.env));
    const told = await writer.flush(limits.auditCloseMs);
    writer.stop();
    if (!told)
      throw new CodedError('table_unavailable', 'the table takes no line that tells of it; nothing was erased');
    for (const place of found) await rows.erasePerson(place.writer, place.number);
    output.item({ erased: found.length, unreadable });
    output.line(`erased who did ${count(found.length, 'act')}; what was done stays, and can be proven`);
    if (unreadable === 0) return;
    output.finding(
      `  ${count(unreadable, 'row')} of persons cannot be read, and may tell of this user: certstandby audit verify names them`,
    );
    host.exitCode = unsoundExit;
  });
}
