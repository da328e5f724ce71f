import { defined } from '../defined.ts';

/** Which files make one certificate. Names are relative to the folder that they lie in. */
export interface Layout {
  /** The leaf, alone or with its chain, and perhaps with its key: PEM. */
  readonly certificate: string;
  /** The rest of the chain. */
  readonly chain?: string;
  /** The private key; absent where it would stand in the certificate's file. */
  readonly key?: string;
}

/**
 * The files of one certificate by their exact names, in the order in which they are looked for. The
 * first is what certbot keeps and what we write, and dehydrated; the third is how Kubernetes mounts
 * a secret. Their key may be missing.
 */
const exact: readonly Layout[] = [
  { certificate: 'fullchain.pem', key: 'privkey.pem' },
  { certificate: 'cert.pem', chain: 'chain.pem', key: 'privkey.pem' },
  { certificate: 'tls.crt', key: 'tls.key' },
];

type Part = 'full' | 'certificate' | 'pem' | 'chain' | 'key';

/**
 * What other tools call their files. The first pattern that fits says what a file is, and of which
 * certificate: what stands before it. `full` is leaf and chain, `pem` may hold anything.
 *
 * acme.sh: `<domain>.cer`, `<domain>.key`, `ca.cer`, `fullchain.cer`. lego, one flat folder:
 * `<domain>.crt`, `<domain>.issuer.crt`, `<domain>.key`, with `--pem` also `<domain>.pem`. Caddy:
 * `<domain>.crt`, `<domain>.key`. Posh-ACME: `cert.cer`, `cert.key`, `fullchain.cer`. acmetool:
 * `fullchain`, `privkey`. getssl: `<domain>.crt`, `<domain>.key`, `fullchain.crt`. win-acme, flat:
 * `<name>-chain.pem`, `<name>-chain-only.pem`, `<name>-crt.pem`, `<name>-key.pem`. mkcert:
 * `<name>.pem`, `<name>-key.pem`. HAProxy: one `<name>.pem`, or `<name>.pem.key` and
 * `<name>.pem.issuer` beside it. Apache and nginx by hand: `server.crt`, `server.key`.
 */
const roles: readonly (readonly [Part, RegExp])[] = [
  ['key', /^()(?:privkey|privkey\.pem|key\.pem|private\.key|private\.pem|privatekey\.pem)$/],
  ['full', /^()fullchain(?:\.(?:pem|cer|crt|cert))?$/],
  ['chain', /^()(?:chain(?:\.(?:pem|cer|crt|cert))?|ca\.cer)$/],
  ['certificate', /^()cert$/],
  ['chain', /^(.+?)(?:[-.]chain-only\.pem|\.issuer\.crt|\.pem\.issuer|\.issuer|\.ca-bundle)$/],
  ['full', /^(.+?)(?:[-._]fullchain\.(?:pem|cer|crt)|-chain\.pem)$/],
  ['key', /^(.+?)(?:[-._](?:key|privkey)\.pem|\.(?:pem|crt|cer)\.key|\.key)$/],
  ['certificate', /^(.+?)(?:[-._](?:crt|cert)\.pem|\.crt|\.cer|\.cert)$/],
  ['pem', /^(.+?)\.pem$/],
];

/** Authorities, requests and parameters: PEM or not, no certificate that a server would use. */
const nothingToServe =
  /^(?:ca\.(?:pem|crt|cert|key)|(?:root|root-?ca|ca-?bundle|dhparams?|dh\d*|csr|request)\.(?:pem|crt|cer|cert|key))$|\.(?:csr|req)\.pem$/i;

type Group = Partial<Record<Part, string>>;

/**
 * The part that a file plays by its name, and of which certificate; `undefined` if its name says
 * nothing of a certificate.
 */
function roleOf(name: string): { readonly part: Part; readonly stem: string } | undefined {
  if (nothingToServe.test(name)) return undefined;
  for (const [part, pattern] of roles) {
    const [, stem] = pattern.exec(name) ?? [];
    if (stem !== undefined) return { part, stem };
  }
  return undefined;
}

/**
 * The part that a file plays by its name; `undefined` if its name says nothing of a certificate.
 */
export const partOf = (name: string): string | undefined => roleOf(name)?.part;

/**
 * The files by the certificate that they are of. Of two that play one part, the first by name
 * counts, so that the answer is always the same.
 */
function groupsOf(names: Iterable<string>): ReadonlyMap<string, Group> {
  const groups = new Map<string, Group>();
  for (const name of [...names].sort()) {
    const role = roleOf(name);
    if (role === undefined) continue;
    groups.set(role.stem, { [role.part]: name, ...groups.get(role.stem) });
  }
  return groups;
}

function layoutOfGroup({ full, certificate, pem, chain, key }: Group): Layout | undefined {
  const file = full ?? certificate ?? pem;
  if (file === undefined) return undefined;
  const withChain = full === undefined && chain !== undefined;
  return { certificate: file, ...(withChain && { chain }), ...defined({ key }) };
}

/**
 * What the names of the files in a folder of one certificate come to: its layout, none, or more
 * than one.
 */
export function layoutOfFolder(
  names: ReadonlySet<string>,
): { readonly layout: Layout } | { readonly several: readonly string[] } | undefined {
  const known = exact.find(({ certificate }) => names.has(certificate));
  // Their key may be missing, or have the name that another tool gives it.
  if (known !== undefined && names.has(known.key ?? '')) return { layout: known };
  const groups = groupsOf(names);
  const shared = groups.get('') ?? {};
  const named = [...groups].filter(([stem, group]) => stem !== '' && layoutOfGroup(group) !== undefined);
  const withKey = named.filter(([, { key }]) => key !== undefined);
  // A certificate beside one that has its key is part of a chain, or left over.
  const meant = withKey.length > 0 ? withKey : named;
  if (meant.length > 1 && layoutOfGroup(shared) === undefined)
    return { several: meant.map(([, group]) => layoutOfGroup(group)?.certificate ?? '') };
  const keys = [...groups.values()].flatMap(({ key }) => (key === undefined ? [] : [key]));
  const own = meant.length === 1 ? meant[0]?.[1] : undefined;
  const key = shared.key ?? own?.key ?? (keys.length === 1 ? keys[0] : undefined);
  const layout = layoutOfGroup({ ...own, ...shared, ...defined({ key }) });
  return layout?.key === undefined && known !== undefined ? { layout: known } : layout && { layout };
}

/** What the files that lie in the folder of all, not in one of their own, come to. */
export interface FlatFiles {
  /** Those that have a key, or may hold one. The name of the certificate's file is the id. */
  readonly certificates: readonly Layout[];
  /**
   * A certificate's files without a name of their own: somebody gave the folder of one for the
   * folder of all.
   */
  readonly nameless?: string;
  /** Files that are part of something, and what is missing to it. */
  readonly incomplete: readonly { readonly name: string; readonly lacks: 'key' | 'certificate' }[];
}

export function layoutsOfFlat(names: Iterable<string>): FlatFiles {
  const certificates: Layout[] = [];
  const incomplete: { name: string; lacks: 'key' | 'certificate' }[] = [];
  let nameless: string | undefined;
  for (const [stem, group] of groupsOf(names)) {
    const layout = layoutOfGroup(group);
    const others = Object.values(group);
    if (layout !== undefined && (stem === '' || (stem === 'cert' && layout.key === undefined) || stem === 'tls'))
      nameless ??= layout.certificate;
    else if (layout !== undefined && (layout.key !== undefined || layout.certificate === group.pem))
      certificates.push(layout);
    else
      incomplete.push(...others.map((name) => ({ name, lacks: layout ? ('key' as const) : ('certificate' as const) })));
  }
  return { certificates, incomplete, ...defined({ nameless }) };
}

/**
 * Names that may belong to a certificate whose file has this name; `undefined` if no certificate's
 * file has it.
 */
export function companionsOf(name: string): readonly string[] | undefined {
  const role = roleOf(name);
  if (role === undefined || role.part === 'chain' || role.part === 'key') return undefined;
  const { stem } = role;
  const endings = [
    '.key',
    '-key.pem',
    '.key.pem',
    '_key.pem',
    '-privkey.pem',
    '.pem.key',
    '.crt.key',
    '.cer.key',
    '.issuer.crt',
    '.issuer',
    '.pem.issuer',
    '.ca-bundle',
    '-chain-only.pem',
    '.chain-only.pem',
  ];
  return endings.map((ending) => `${stem}${ending}`);
}

/**
 * The layout of the certificate whose file in the folder of all has this name, from those of its
 * companions that are there.
 */
export function layoutOfFlat(name: string, there: readonly string[]): Layout {
  const role = roleOf(name);
  const group: Group = groupsOf(there).get(role?.stem ?? '') ?? {};
  const withChain = role?.part !== 'full' && group.chain !== undefined;
  return {
    certificate: name,
    ...(withChain && { chain: group.chain ?? '' }),
    ...defined({ key: group.key }),
  };
}

/**
 * The id of the certificate that a file in the folder of all belongs to, whether it is there or not
 * any more.
 */
export function flatIdOf(name: string, names: Iterable<string>): string | undefined {
  const role = roleOf(name);
  if (role === undefined) return undefined;
  const layout = layoutOfGroup(groupsOf(names).get(role.stem) ?? {});
  return layout?.certificate ?? (role.part === 'chain' || role.part === 'key' ? undefined : name);
}

/**
 * What a file is, by its first bytes, in words; `undefined` if it does not look like anything that
 * belongs to a certificate.
 */
export function looksLike(bytes: Buffer): string | undefined {
  if (bytes.length >= 4 && bytes.readUInt32BE(0) === 0xfeedfeed) return 'a Java keystore';
  if (bytes.length >= 4 && bytes.readUInt32BE(0) === 0xcececece) return 'a Java keystore (JCEKS)';
  if (bytes[0] === 0x30 && (bytes[1] ?? 0) >= 0x80)
    return /^30(?:80|81..|82....|83.{6}|84.{8})020103/.test(bytes.toString('hex', 0, 16))
      ? 'a PKCS#12 file'
      : 'a certificate or key in DER';
  const text = bytes.toString('latin1');
  for (const [label, words] of pemWords) if (text.includes(`-----BEGIN ${label}`)) return words;
  if (/^\s*\{/.test(text) && text.includes('"Certificates"')) return 'the store of Traefik';
  return undefined;
}

const pemWords: readonly (readonly [string, string])[] = [
  ['ENCRYPTED PRIVATE KEY', 'an encrypted private key'],
  ['OPENSSH PRIVATE KEY', 'a key of SSH'],
  ['PKCS7', 'a PKCS#7 bundle'],
  ['CERTIFICATE REQUEST', 'a certificate request'],
  ['NEW CERTIFICATE REQUEST', 'a certificate request'],
  ['TRUSTED CERTIFICATE', 'a trusted certificate of OpenSSL'],
  ['CERTIFICATE', 'a certificate in PEM'],
  ['X509 CERTIFICATE', 'a certificate in PEM'],
  ['PRIVATE KEY', 'a private key in PEM'],
  ['RSA PRIVATE KEY', 'a private key in PEM'],
  ['EC PRIVATE KEY', 'a private key in PEM'],
];
