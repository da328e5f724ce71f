import { createPrivateKey } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { systemRuntime } from '../../../src/runtime.ts';
import { brokenChain, expired, mismatchedKey, testCertificate } from '../../support/certificates.ts';
import { startTestInstance, type TestInstance, type TestInstanceOptions } from '../../support/instance.ts';
import { type Call, clientOf, dataOf, segment } from '../client.ts';

const started: TestInstance[] = [];
afterEach(() => Promise.all(started.splice(0).map((instance) => instance.close())));

async function start(options: TestInstanceOptions = {}): Promise<{ instance: TestInstance; api: Call; I: string }> {
  const instance = await startTestInstance(options);
  started.push(instance);
  return { instance, api: await clientOf(instance), I: segment(instance.crn) };
}

const now = Date.UTC(2030, 0, 2, 3, 4, 5, 6);

describe('import', () => {
  test('answers the certificate without its content, and keeps it', async () => {
    const { instance, api, I } = await start({ runtime: { ...systemRuntime, now: () => now } });
    const issued = await testCertificate({
      domains: ['shop.example.test', 'www.shop.example.test'],
      keyKind: 'rsa-2048',
      serial: '0a0b0c',
      notBefore: Date.UTC(2030, 0, 1),
      notAfter: Date.UTC(2030, 3, 1),
    });
    const answer = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: dataOf(issued) });
    const id = answer.body._id;

    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(id.startsWith(`${instance.crn.slice(0, -1)}certificate:`)).toBe(true);
    expect(id.split(':')[9]).toMatch(/^[0-9a-f]{32}$/);
    const expected = {
      _id: id,
      name: 'shop',
      description: '',
      domains: ['shop.example.test', 'www.shop.example.test'],
      issuer: 'Test Intermediate 1',
      begins_on: 1_893_456_000_000,
      expires_on: 1_901_232_000_000,
      algorithm: 'ecdsa-with-SHA256',
      key_algorithm: 'rsaEncryption 2048 bit',
      serial_number: '0a0b0c',
      imported: true,
      status: 'valid',
      has_previous: false,
      last_modified: 1_893_553_445_006,
    };
    expect(answer.body).toEqual(expected);
    expect((await api('GET', `/v1/certificate/${segment(id)}/metadata`)).body).toEqual(answer.body);
    expect((await api('GET', `/v3/${I}/certificates`)).body.certificates).toEqual([answer.body]);
    const downloaded = await api('GET', `/v2/certificate/${segment(id)}`);
    expect(downloaded.body).toEqual({ ...answer.body, data: dataOf(issued) });
  });

  test('gives PEM back byte for byte: line ends, comments, spaces and the order of blocks', async () => {
    const { api, I } = await start();
    const { content, priv_key, intermediate } = dataOf(await testCertificate());
    const data = {
      content: `subject=shop \u00e9\r\n${content.replaceAll('\n', '\r\n')}\r\n\r\n`,
      priv_key: `  \n${priv_key.trimEnd()}`,
      intermediate: `${intermediate}${intermediate}# twice`,
    };
    const { body } = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data });
    expect((await api('GET', `/v2/certificate/${segment(body._id)}`)).body.data).toEqual(data);
  });

  test('takes a certificate without key, without chain, with a broken chain, and not yet valid', async () => {
    const { api, I } = await start();
    const later = await testCertificate({ notBefore: Date.UTC(2090, 0, 1), intermediates: 0 });
    const { priv_key: _, ...keyless } = dataOf(await testCertificate());
    for (const data of [
      dataOf(later),
      keyless,
      { ...keyless, priv_key: '', intermediate: null },
      dataOf(await brokenChain()),
    ]) {
      const { status, body } = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data });
      expect(status).toBe(200);
      const { data: kept } = (await api('GET', `/v2/certificate/${segment(body._id)}`)).body;
      expect(kept).toEqual(Object.fromEntries(Object.entries(data).filter(([, text]) => text !== '' && text !== null)));
    }
  });

  test('names need not be unique', async () => {
    const { api, I } = await start();
    const body = { name: 'shop', description: 'one', data: dataOf(await testCertificate()) };
    const [one, two] = [
      await api('POST', `/v3/${I}/certificates/import`, body),
      await api('POST', `/v3/${I}/certificates/import`, body),
    ];
    expect([one.body.name, two.body.name]).toEqual(['shop', 'shop']);
    expect(one.body._id).not.toBe(two.body._id);
  });

  test('refuses what would not serve, says what to do, and stores nothing', async () => {
    const { api, I } = await start();
    const good = dataOf(await testCertificate());
    const other = dataOf(await testCertificate());
    const encrypted = createPrivateKey(good.priv_key)
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
      .toString();
    const refused: readonly [string, unknown, string][] = [
      [
        'certificate_key_mismatch',
        dataOf(await mismatchedKey()),
        'Import the private key that belongs to this certificate.',
      ],
      ['certificate_expired', dataOf(await expired()), 'Have it renewed where it was issued'],
      ['certificate_key_encrypted', { ...good, priv_key: encrypted }, 'Remove the passphrase'],
      ['certificate_malformed', { content: good.content + other.content }, '2 different leaf certificates'],
      ['certificate_malformed', { content: 'garbage' }, 'Give PEM'],
      ['certificate_malformed', { ...good, content: good.content.replace('MII', 'AII') }, 'Give PEM'],
      ['certificate_malformed', { ...good, priv_key: 'garbage' }, 'Give PEM'],
      ['instance_request_invalid', { priv_key: good.priv_key }, 'content is missing'],
      ['instance_request_invalid', { ...good, priv_key: 5 }, 'priv_key is not a string'],
      ['instance_request_invalid', 'text', 'data is not a JSON object'],
      ['instance_request_invalid', undefined, 'data is not a JSON object'],
    ];
    for (const [code, data, message] of refused) {
      const answer = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data });
      expect([answer.status, answer.body.code]).toEqual([400, code]);
      expect(answer.body.message).toContain(message);
      expect(JSON.stringify(answer.body)).not.toContain('MII');
    }
    expect((await api('GET', `/v3/${I}/certificates`)).body.totalScannedDocs).toBe(0);
  });

  test.each([
    ['not json', 'the body is not JSON'],
    ['[]', 'the body is not a JSON object'],
    ['', 'the body is not JSON'],
    ['{"data":{}}', 'name is missing'],
    ['{"name":"","data":{}}', 'name is missing'],
    ['{"name":7,"data":{}}', 'name is not a string'],
    ['{"name":"\\ud800","data":{}}', 'name is not well-formed Unicode'],
    ['{"name":"a","description":[],"data":{}}', 'description is not a string'],
  ])('refuses the body %s', async (text, message) => {
    const { api, I } = await start();
    const answer = await api('POST', `/v3/${I}/certificates/import`, text);
    expect([answer.status, answer.body.code]).toEqual([400, 'instance_request_invalid']);
    expect(answer.body.message).toContain(message);
  });

  test('takes names of 256 and descriptions of 1024 characters, and not one more', async () => {
    const { api, I } = await start();
    const data = dataOf(await testCertificate());
    const statusOf = async (name: string, description: string) =>
      (await api('POST', `/v3/${I}/certificates/import`, { name, description, data })).status;
    expect(await statusOf('n'.repeat(255), 'd'.repeat(1023))).toBe(200);
    expect(await statusOf('n'.repeat(256), 'd'.repeat(1024))).toBe(200);
    expect(await statusOf('\u{1F512}'.repeat(256), '')).toBe(200);
    expect(await statusOf('n'.repeat(257), '')).toBe(400);
    expect(await statusOf('n', 'd'.repeat(1025))).toBe(400);
  });

  test('takes PEM texts of 102400 bytes, and not one more', async () => {
    const { api, I } = await start();
    const data = dataOf(await testCertificate());
    const padded = (bytes: number) => ({ ...data, content: data.content.padEnd(bytes, ' ') });
    const at = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: padded(102_400) });
    expect(at.status).toBe(200);
    const over = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: padded(102_401) });
    expect([over.status, over.body.code]).toEqual([400, 'certificate_too_large']);
  });

  test('refuses texts that grow beyond a row of the table', async () => {
    const { api, I } = await start();
    const { content } = dataOf(await testCertificate());
    const data = { content: content + '\u0001'.repeat(80_000) };
    const answer = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data });
    expect([answer.status, answer.body.code]).toEqual([400, 'certificate_too_large']);
  });

  test('takes bodies of 1048576 bytes, and not one more', async () => {
    const { api, I } = await start();
    const body = JSON.stringify({ name: 'shop', data: dataOf(await testCertificate()) });
    expect((await api('POST', `/v3/${I}/certificates/import`, body.padEnd(1_048_576))).status).toBe(200);
    const over = await api('POST', `/v3/${I}/certificates/import`, body.padEnd(1_048_577));
    expect([over.status, over.body.code]).toEqual([413, 'instance_body_too_large']);
    expect((await api('GET', `/v3/${I}/certificates`)).body.totalScannedDocs).toBe(1);
  });

  test('takes as many certificates as the limit says, and more after a delete', async () => {
    const { api, I } = await start({ limits: { certificates: 2 } });
    const entry = { name: 'shop', data: dataOf(await testCertificate()) };
    const first = await api('POST', `/v3/${I}/certificates/import`, entry);
    expect((await api('POST', `/v3/${I}/certificates/import`, entry)).status).toBe(200);
    const full = await api('POST', `/v3/${I}/certificates/import`, entry);
    expect([full.status, full.body.code]).toEqual([409, 'instance_full']);
    expect((await api('DELETE', `/v2/certificate/${segment(first.body._id)}`)).status).toBe(200);
    expect((await api('POST', `/v3/${I}/certificates/import`, entry)).status).toBe(200);
    expect((await api('POST', `/v3/${I}/certificates/import`, entry)).status).toBe(409);
  });

  test('of many imports at once no more than the limit get in', async () => {
    const { api, I } = await start({ limits: { certificates: 5 } });
    const entry = { name: 'shop', data: dataOf(await testCertificate()) };
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => api('POST', `/v3/${I}/certificates/import`, entry)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
    expect((await api('GET', `/v3/${I}/certificates`)).body.totalScannedDocs).toBe(5);
  });
});

describe('reimport', () => {
  async function imported(options: TestInstanceOptions = {}) {
    const { instance, api, I } = await start(options);
    const data = dataOf(await testCertificate({ domains: ['a.example.test', 'b.example.test'] }));
    const { body } = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', description: 'mine', data });
    return { instance, api, I, C: segment(body._id), before: body };
  }

  test('replaces the content in place and says that there is a previous one', async () => {
    let time = now;
    const { api, I, C, before } = await imported({ runtime: { ...systemRuntime, now: () => time } });
    time += 60_000;
    const issued = await testCertificate({ domains: ['b.example.test', 'A.example.test'], serial: '77' });
    const answer = await api('PUT', `/v1/certificate/${C}`, dataOf(issued));
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      ...before,
      domains: ['b.example.test', 'A.example.test'],
      serial_number: '77',
      has_previous: true,
      last_modified: now + 60_000,
    });
    expect((await api('GET', `/v2/certificate/${C}`)).body).toEqual({ ...answer.body, data: dataOf(issued) });
    expect((await api('GET', `/v3/${I}/certificates`)).body.certificates).toEqual([answer.body]);
  });

  test('drops a key and a chain that the new content does not bring', async () => {
    const { api, C } = await imported();
    const { content } = dataOf(await testCertificate({ domains: ['a.example.test', 'b.example.test'] }));
    expect((await api('PUT', `/v1/certificate/${C}`, { content })).status).toBe(200);
    expect((await api('GET', `/v2/certificate/${C}`)).body.data).toEqual({ content });
  });

  test.each([
    [['a.example.test']],
    [['a.example.test', 'b.example.test', 'c.example.test']],
    [['a.example.test', 'c.example.test']],
  ])('refuses other domains: %s', async (domains) => {
    const { api, C, before } = await imported();
    const answer = await api('PUT', `/v1/certificate/${C}`, dataOf(await testCertificate({ domains })));
    expect([answer.status, answer.body.code]).toEqual([400, 'instance_domains_differ']);
    expect(answer.body.message).toContain('Reimport a certificate for the same domains');
    expect((await api('GET', `/v1/certificate/${C}/metadata`)).body).toEqual(before);
  });

  test('refuses what import refuses, and changes nothing', async () => {
    const { api, C, before } = await imported();
    const domains = ['a.example.test', 'b.example.test'];
    const data = dataOf(await mismatchedKey({ domains }));
    expect((await api('PUT', `/v1/certificate/${C}`, data)).body.code).toBe('certificate_key_mismatch');
    expect((await api('PUT', `/v1/certificate/${C}`, dataOf(await expired({ domains })))).status).toBe(400);
    // Wrapped as import wants it.
    const wrapped = await api('PUT', `/v1/certificate/${C}`, { data: dataOf(await testCertificate({ domains })) });
    expect([wrapped.status, wrapped.body.code]).toEqual([400, 'instance_request_invalid']);
    expect((await api('GET', `/v1/certificate/${C}/metadata`)).body).toEqual(before);
  });

  test('the sixth within a minute is refused with Retry-After, for this certificate alone', async () => {
    let time = now;
    const { api, I, C } = await imported({ limits: {}, runtime: { ...systemRuntime, now: () => time } });
    const data = dataOf(await testCertificate({ domains: ['a.example.test', 'b.example.test'] }));
    for (let count = 1; count <= 5; count++) {
      expect((await api('PUT', `/v1/certificate/${C}`, data)).status).toBe(200);
      time += 1000;
    }
    const sixth = await api('PUT', `/v1/certificate/${C}`, data);
    expect([sixth.status, sixth.body.code, sixth.headers.get('retry-after')]).toEqual([429, 'instance_limited', '55']);
    const other = await api('POST', `/v3/${I}/certificates/import`, { name: 'other', data });
    expect((await api('PUT', `/v1/certificate/${segment(other.body._id)}`, data)).status).toBe(200);
    time += 54_999;
    expect((await api('PUT', `/v1/certificate/${C}`, data)).headers.get('retry-after')).toBe('1');
    time += 1;
    expect((await api('PUT', `/v1/certificate/${C}`, data)).status).toBe(200);
  });

  test('what is refused for its content does not count towards the limit', async () => {
    const { api, C } = await imported({ limits: {}, runtime: { ...systemRuntime, now: () => now } });
    const other = dataOf(await testCertificate({ domains: ['other.example.test'] }));
    for (let count = 1; count <= 6; count++) {
      expect((await api('PUT', `/v1/certificate/${C}`, other)).status).toBe(400);
    }
    const same = dataOf(await testCertificate({ domains: ['a.example.test', 'b.example.test'] }));
    expect((await api('PUT', `/v1/certificate/${C}`, same)).status).toBe(200);
  });

  test('several at once all take effect, one after the other', async () => {
    const { api, C } = await imported();
    const domains = ['a.example.test', 'b.example.test'];
    const issued = await Promise.all([1, 2, 3, 4].map((n) => testCertificate({ domains, serial: `0${n}` })));
    const answers = await Promise.all(issued.map((one) => api('PUT', `/v1/certificate/${C}`, dataOf(one))));
    expect(answers.map(({ status, body }) => [status, body.serial_number])).toEqual([
      [200, '01'],
      [200, '02'],
      [200, '03'],
      [200, '04'],
    ]);
    const moments = answers.map(({ body }) => body.last_modified);
    expect(new Set(moments).size).toBe(4);
    const newest = answers[moments.indexOf(Math.max(...moments))];
    const { data, ...metadata } = (await api('GET', `/v2/certificate/${C}`)).body;
    expect(metadata).toEqual(newest?.body);
    expect(data).toEqual(dataOf(issued[Number(metadata.serial_number) - 1] as (typeof issued)[0]));
  });
});

describe('update', () => {
  async function imported(options: TestInstanceOptions = {}) {
    const { api, I } = await start(options);
    const entry = { name: 'shop', description: 'mine', data: dataOf(await testCertificate()) };
    const { body } = await api('POST', `/v3/${I}/certificates/import`, entry);
    return { api, C: segment(body._id), before: body };
  }

  test('changes what is given and nothing else', async () => {
    const { api, C, before } = await imported({ runtime: { ...systemRuntime, now: () => now } });
    const named = await api('POST', `/v3/certificate/${C}`, { name: 'other' });
    // The clock stands still, yet the revision moves.
    expect(named.body).toEqual({ ...before, name: 'other', last_modified: now + 1 });
    const described = await api('POST', `/v3/certificate/${C}`, { description: '' });
    expect(described.body).toEqual({ ...before, name: 'other', description: '', last_modified: now + 2 });
    expect((await api('GET', `/v1/certificate/${C}/metadata`)).body).toEqual(described.body);
  });

  test.each([[{}], [{ name: '' }], [{ name: 'n'.repeat(257) }], [{ description: 'd'.repeat(1025) }], [{ name: 5 }]])(
    'refuses %j',
    async (body) => {
      const { api, C, before } = await imported();
      const answer = await api('POST', `/v3/certificate/${C}`, body);
      expect([answer.status, answer.body.code]).toEqual([400, 'instance_request_invalid']);
      expect((await api('GET', `/v1/certificate/${C}/metadata`)).body).toEqual(before);
    },
  );

  test('the sixth within a minute is refused', async () => {
    const { api, C } = await imported({ limits: {}, runtime: { ...systemRuntime, now: () => now } });
    for (let count = 1; count <= 5; count++) {
      expect((await api('POST', `/v3/certificate/${C}`, { name: `n${count}` })).status).toBe(200);
    }
    const sixth = await api('POST', `/v3/certificate/${C}`, { name: 'n6' });
    expect([sixth.status, sixth.headers.get('retry-after')]).toEqual([429, '60']);
    expect((await api('GET', `/v1/certificate/${C}/metadata`)).body.name).toBe('n5');
  });
});

test('a deleted certificate is gone everywhere, and so is one that never was', async () => {
  const { instance, api, I } = await start();
  const entry = { name: 'shop', data: dataOf(await testCertificate()) };
  const { body } = await api('POST', `/v3/${I}/certificates/import`, entry);
  const C = segment(body._id);
  expect((await api('DELETE', `/v2/certificate/${C}`)).status).toBe(200);
  const never = segment(`${instance.crn.slice(0, -1)}certificate:${'0'.repeat(32)}`);
  for (const id of [C, never]) {
    const answers = [
      await api('GET', `/v2/certificate/${id}`),
      await api('GET', `/v1/certificate/${id}/metadata`),
      await api('PUT', `/v1/certificate/${id}`, entry.data),
      await api('POST', `/v3/certificate/${id}`, { name: 'x' }),
      await api('DELETE', `/v2/certificate/${id}`),
    ];
    expect(answers.map(({ status, body: { code } }) => [status, code])).toEqual(
      Array(5).fill([404, 'instance_not_found']),
    );
  }
  expect((await api('GET', `/v3/${I}/certificates`)).body.certificates).toEqual([]);
});

test('a certificate that expires while it is kept says so, and can still be downloaded', async () => {
  let time = now;
  const { api, I } = await start({ runtime: { ...systemRuntime, now: () => time } });
  const data = dataOf(await testCertificate({ notAfter: now + 5_000 }));
  const { body } = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data });
  time += 10_000;
  const later = await api('GET', `/v2/certificate/${segment(body._id)}`);
  expect([body.status, later.body.status, later.body.data]).toEqual(['valid', 'expired', data]);
});
