import { configSettings } from '../config.ts';
import type { Setting } from '../settings.ts';

/** Settings by their paths, each as it is written and where. */
export type Written = ReadonlyMap<string, { readonly value: string; readonly line: number }>;

/** A setting that is in force, as `config explain` shows it. */
export interface SettingInForce {
  readonly path: string;
  /** As it would be written; absent where only `otherwise` holds. */
  readonly value?: string;
  /** The line of the file; absent for a default. */
  readonly line?: number;
}

/** What holds for an option: one setting for each name that its `*` stands for. */
export function settingsOf(option: Setting, written: Written): readonly SettingInForce[] {
  const [before, after] = option.path.split('*') as [string, string?];
  const paths = after === undefined ? [option.path] : namesUnder(before, written).map((name) => before + name + after);
  return paths.flatMap((path) => {
    const found = written.get(path);
    if (found !== undefined) return { path, ...found };
    if (option.of !== undefined && kindBeside(path, written) !== option.of) return [];
    return option.default === undefined ? { path } : { path, value: JSON.stringify(option.default) };
  });
}

function kindBeside(path: string, written: Written): string {
  const kind = path.replace(/[^.]+$/, 'kind');
  const standard = configSettings.find((option) => option.path === kind)?.default;
  return JSON.parse(written.get(kind)?.value ?? JSON.stringify(standard ?? ''));
}

function namesUnder(prefix: string, written: Written): readonly string[] {
  const names = [...written.keys()].flatMap((path) => (path.startsWith(prefix) ? [path.slice(prefix.length)] : []));
  return [...new Set(names.map((rest) => rest.split('.')[0] ?? ''))];
}

/** The whole configuration as a tree, defaults filled in. */
export function effectiveSettings(written: Written): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const option of configSettings) {
    for (const { path, value } of settingsOf(option, written)) {
      if (value === undefined) continue;
      const keys = path.split('.');
      const last = keys.pop() ?? '';
      let at = whole;
      for (const key of keys) {
        at[key] ??= {};
        at = at[key] as Record<string, unknown>;
      }
      at[last] = JSON.parse(value);
    }
  }
  return whole;
}
