import { loadConfig } from '../../config.ts';
import { jsonText } from '../../foreign-text.ts';
import { commandOutput, type Host, type OutputOptions } from '../output/output.ts';

/** `certstandby doctor --rights`: a policy for each store of each link. Asks nobody. */
export async function printRights(options: OutputOptions & { readonly config: string }, host: Host): Promise<void> {
  const output = commandOutput(options, host);
  const { rightsOfLinks } = await import('../../compose/rights.ts');
  for (const { link, store, kind, use, role, statements } of await rightsOfLinks(
    loadConfig(options.config, host.env),
  )) {
    const policy = statements && { Version: '2012-10-17', Statement: statements };
    output.item({ link, store, kind, use, ...(role && { role }), ...(policy && { policy }) });
    const whose = role === undefined ? '' : `, for the role ${role}`;
    output.line(`${link}: ${store} (${kind}) as ${use}${whose}`);
    if (policy === undefined) output.line(`  Its rights are in words: src/services/${kind}/README.md`, '');
    else output.line(...jsonText(policy, 2).split('\n'), '');
  }
}
