import { execSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError, type CodedError } from '../src/errors.ts';
import { makePrivateFolder, refuseExposedFolder } from '../src/private-folder.ts';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'certstandby-private-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function refusal(path: string): CodedError | undefined {
  try {
    refuseExposedFolder(path);
    return undefined;
  } catch (thrown) {
    return asCodedError(thrown);
  }
}

/** Does what the message says. */
function mend(error: CodedError | undefined): void {
  const { command } = error?.fields ?? {};
  expect(error?.message.endsWith(`To mend it: ${command}`)).toBe(true);
  execSync(String(command));
}

describe('a folder that is to hold keys', () => {
  it('is made for its owner alone, with those above it', () => {
    makePrivateFolder(join(base, 'a', 'b'));
    for (const path of ['a', 'a/b']) expect((statSync(join(base, path)).mode & 0o777).toString(8)).toBe('700');
  });

  it.each([
    [0o770, 'its group'],
    [0o702, 'everybody'],
    [0o1777, 'everybody'],
  ])('is refused where its mode is %o, until the command of the message was run', (mode, who) => {
    const path = join(base, "the folder's");
    mkdirSync(path);
    chmodSync(path, mode);
    const error = refusal(path);
    expect(error).toMatchObject({ code: 'folder_exposed', fields: { path } });
    expect(error?.message).toContain(`${who} may write there`);
    mend(error);
    expect(refusal(path)).toBeUndefined();
  });

  it('is refused where a folder above it is open, and is not made then; one with the sticky bit is as good as closed', () => {
    const above = join(base, 'above');
    mkdirSync(above);
    chmodSync(above, 0o777);
    expect(() => makePrivateFolder(join(above, 'keys'))).toThrow(`the folder ${above} is open to others`);
    expect(existsSync(join(above, 'keys'))).toBe(false);
    chmodSync(above, 0o1777);
    expect(refusal(join(above, 'keys'))).toBeUndefined();
  });

  it('is refused where it is reached through a link into a folder that is open', () => {
    const open = join(base, 'open');
    mkdirSync(join(open, 'keys'), { recursive: true });
    chmodSync(open, 0o777);
    symlinkSync('open/keys', join(base, 'keys'));
    expect(refusal(join(base, 'keys'))?.fields.path).toBe(open);
  });

  it.runIf(process.geteuid?.() === 0)('is refused where it belongs to somebody else', () => {
    const path = join(base, 'theirs');
    mkdirSync(path, { mode: 0o700 });
    chownSync(path, 65_534, 65_534);
    const error = refusal(path);
    expect(error?.message).toContain('it belongs to user 65534');
    expect(error?.fields.command).toBe(`sudo chown 0 ${path}`);
  });
});
