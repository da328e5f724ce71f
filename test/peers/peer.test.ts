import { afterEach, describe, expect, it, vi } from 'vitest';
import { requirePeer } from './peer.ts';

describe('requirePeer', () => {
  afterEach(() => vi.restoreAllMocks());

  it('prints and returns the version of what is there', () => {
    const info = vi.spyOn(console, 'info').mockReturnValue();
    expect(requirePeer('Node', [process.execPath, '--version'], 'nothing')).toBe(process.version);
    expect(info.mock.calls).toEqual([[`peer Node: ${process.version}`]]);
  });

  it.each([
    ['is not installed', ['certstandby-no-such-program', '--version']],
    ['does not run', [process.execPath, '--no-such-option']],
  ] as const)('says once, aloud, what to install where a program %s', (_, command) => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    expect(requirePeer('Absent', command, 'apt-get install absent', {})).toBeUndefined();
    expect(warn).toHaveBeenCalledOnce();
    expect(warn.mock.calls[0]?.[0]).toMatch(/PEER MISSING: Absent .*apt-get install absent.*SKIPPED/);
  });

  it('fails under CI', () => {
    const command = ['certstandby-no-such-program'] as const;
    expect(() => requirePeer('Absent', command, 'apt-get install absent', { CI: 'true' })).toThrow(
      /apt-get install absent/,
    );
  });
});
