import { createSocket } from 'node:dgram';

/** A DNS server of TXT and CNAME records, on 127.0.0.1. */
export interface FakeDns {
  /** `127.0.0.1:<port>`. */
  readonly address: string;
  readonly txt: Map<string, string[]>;
  readonly cname: Map<string, string>;
  /** Names for which nothing is answered. */
  readonly silent: Set<string>;
  close(): Promise<void>;
}

const txtType = 16;
const cnameType = 5;

export async function startFakeDns(): Promise<FakeDns> {
  const txt = new Map<string, string[]>();
  const cname = new Map<string, string>();
  const silent = new Set<string>();
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    let end = 12;
    const labels: string[] = [];
    for (let length = query[end] ?? 0; length > 0; length = query[end] ?? 0) {
      labels.push(query.toString('latin1', end + 1, end + 1 + length));
      end += 1 + length;
    }
    const type = query.readUInt16BE(end + 1);
    const question = query.subarray(12, end + 5);
    const name = labels.join('.').toLowerCase();
    if (silent.has(name)) return;
    const target = cname.get(name);
    const answers =
      type === txtType
        ? (txt.get(name) ?? []).map((value) => record(txtType, Buffer.from([value.length, ...Buffer.from(value)])))
        : type === cnameType && target !== undefined
          ? [record(cnameType, encodedName(target))]
          : [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8580, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    socket.send(Buffer.concat([header, question, ...answers]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    txt,
    cname,
    silent,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** A record of the name that was asked for (RFC 1035 section 4.1.3). */
function record(type: number, data: Buffer): Buffer {
  const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, 0]);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function encodedName(name: string): Buffer {
  return Buffer.concat([
    ...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}
