import { expiryProblem, keyProblem } from '../../certificate/judgement.ts';
import { type PartNames, parseContent } from '../../certificate/pem.ts';
import { defined } from '../../defined.ts';
import { limits } from '../../limits.ts';
import { Secret } from '../../secret.ts';
import { type ContentPem, checkContentSize, type KeptFacts, keptFacts } from '../certificates/certificate-row.ts';
import { type Fields, optionalText, requiredText } from '../rows/fields.ts';

/**
 * The PEM of a request and what it says, judged as at import: it parses, the key belongs to it, it
 * has not expired.
 */
export function acceptContent(
  fields: Fields,
  names: PartNames,
  nowMs: number,
): { readonly pem: ContentPem; readonly facts: KeptFacts } {
  // How long each may be is for the parser to say.
  const content = requiredText(fields, names.certificate, limits.instanceBodyBytes);
  const key = optionalText(fields, names.privateKey, limits.instanceBodyBytes) ?? '';
  const intermediate = optionalText(fields, names.intermediate, limits.instanceBodyBytes) ?? '';
  const given = {
    certificate: content,
    ...(intermediate !== '' && { intermediate }),
    ...(key !== '' && { privateKey: new Secret(key) }),
  };
  const parsed = parseContent(given, names);
  // A key may be left out, and a chain that does not hold is kept as it is: Certificate Manager
  // looks at neither.
  const problem = (parsed.privateKey && keyProblem(parsed)) ?? expiryProblem(parsed, nowMs);
  if (problem !== undefined) throw problem;
  const pem: ContentPem = {
    content,
    ...(intermediate !== '' && { intermediate }),
    ...(key !== '' && { priv_key: key }),
  };
  checkContentSize(pem);
  return { pem, facts: keptFacts(parsed) };
}

/** What a kept content says of itself. */
export function factsIn({ content, intermediate }: ContentPem): KeptFacts {
  return keptFacts(parseContent({ certificate: content, ...defined({ intermediate }) }));
}
