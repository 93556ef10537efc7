// Bytes that nobody sends by accident, and what the stack was at its deepest behind all tests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_EMULATOR, client, memory, sleep, tcp } from './board.mjs';
import { SECRET, VERSIONS, msgpack, within } from './clients.mjs';

const HEAD =
  'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

function frame(first, payload) {
  const small = payload.length < 126;
  const size = small ? [0x80 | payload.length] : [0x80 | 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([first, ...size, 0, 0, 0, 0]), payload]);
}

function chunks(content, size = content.length) {
  const frames = [];
  for (let at = 0; at < content.length; at += size) {
    const header = Buffer.alloc(12);
    [7, at, content.length].forEach((word, i) => header.writeUInt32LE(word, i * 4));
    frames.push(frame(0x82, Buffer.concat([header, content.subarray(at, at + size)])));
  }
  return Buffer.concat(frames);
}

const text = (content) => frame(0x81, Buffer.from(content));
const nested = (open, inner, close, depth) => open.repeat(depth) + inner + close.repeat(depth);
const ID = 'i'.repeat(64);

/** A request whose arguments are nested as deep as they may be, under the longest id. */
function deep(version, method) {
  let value = 0.1;
  for (let i = 0; i < 12; i += 1) value = i % 2 ? [value] : { [`key ${i}`]: value };
  const envelope = { id: ID, method, args: [value], kwargs: { a: value } };
  return version === 1 ? text(JSON.stringify(envelope)) : chunks(Buffer.from(msgpack.encode(envelope)));
}

const hello = (version, secret = SECRET) => {
  const envelope = { id: ID, method: 'wslink.hello', args: [{ secret }] };
  return version === 1 ? text(JSON.stringify(envelope)) : chunks(Buffer.from(msgpack.encode(envelope)));
};

/** What is sent to each dialect once it has said hello. */
const BOMBS = {
  1: [
    text('['.repeat(1000)),
    text('{"a":'.repeat(200)),
    text(nested('[', '', ']', 500)),
    text(`{"id":"${ID}","method":"scope.settings.set","args":${nested('[', '1', ']', 400)}}`),
    text(`{"id":"${'\\u0001'.repeat(160)}"}`),
    text(`{"id":"${ID}","method":"${'\\ud83d\\ude00'.repeat(70)}"}`),
    text(`{"id":"${ID}","method":"scope.capture","args":[${'9'.repeat(900)}]}`),
    text(`{"id":"${ID}","method":"scope.capture","args":[1e${'9'.repeat(900)}]}`),
    text(`{"id":"${ID}","method":"scope.settings.set","kwargs":{"frequency":0.${'3'.repeat(800)}e-200}}`),
    deep(1, 'scope.settings.set'),
    deep(1, 'wslink.subscribe'),
    Buffer.concat(Array.from({ length: 20 }, (_, i) => text(`{"id":"${i}","method":"wslink.describe"}`))),
    Buffer.concat(
      ['{"id":"x","meth', 'od":"scope.settings.get"', '}'].map((part, i) =>
        frame([0x01, 0x00, 0x80][i], Buffer.from(part)),
      ),
    ),
  ],
  2: [
    chunks(Buffer.alloc(1000, 0x91)),
    chunks(Buffer.alloc(1000, 0x81)),
    chunks(Buffer.alloc(1000, Buffer.from([0x81, 0xa1, 0x61]))),
    chunks(Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff, ...Buffer.alloc(200, 0xc6)])),
    chunks(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff, ...Buffer.alloc(900, 0xc0)])),
    chunks(Buffer.from(msgpack.encode({ id: ID, method: 'scope.settings.set', pad: 'p'.repeat(800) })), 1),
    chunks(Buffer.from(msgpack.encode({ id: ID, method: ID.repeat(12) })), 13),
    deep(2, 'scope.settings.set'),
    deep(2, 'wslink.describe'),
    Buffer.concat(
      Array.from({ length: 20 }, (_, i) =>
        chunks(Buffer.from(msgpack.encode({ id: `${i}`, method: 'wslink.describe' }))),
      ),
    ),
  ],
};

/** Neither: what no WebSocket and no request begins with. */
const NOISE = [
  Buffer.alloc(1000, 0xff),
  Buffer.from([0x82, 0xff, 0x7f, ...Buffer.alloc(200, 0xff)]),
  Buffer.concat(Array.from({ length: 50 }, () => frame(0x89, Buffer.alloc(125, 7)))),
  frame(0x88, Buffer.from([3, 232, ...Buffer.alloc(123, 0x20)])),
];

/** Sends that and reads until the end, or for a moment. */
async function send(pieces) {
  const socket = tcp();
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.setNoDelay();
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    // So that pieces come as pieces.
    await sleep(2);
  }
  await Promise.race([closed, sleep(100)]);
  socket.end();
  await within(closed, 'the end of the connection');
}

const cut = (bytes, size) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

for (const version of VERSIONS) {
  test(`${version}.x: bombs, whole, in pieces, and before hello`, async () => {
    for (const bomb of BOMBS[version]) {
      await send([`${HEAD}\r\n`, hello(version), bomb]);
      await send([`${HEAD}\r\n`, bomb]);
      const all = Buffer.concat([hello(version), bomb]);
      await send([`${HEAD}\r\n`, ...cut(all, 97)]);
    }
    const peer = await client(version);
    await peer.call('scope.settings.get');
    await peer.close();
  });
}

test('noise', async () => {
  for (const bytes of NOISE) {
    await send([`${HEAD}\r\n`, bytes]);
    await send([`${HEAD}\r\n`, hello(1), bytes]);
    await send([bytes]);
  }
  // As many headers as there is room for.
  await send([`${HEAD}${Array.from({ length: 100 }, (_, i) => `${i}:\r\n`).join('')}\r\n`]);
  await send(cut(Buffer.from(`${HEAD}\r\n`), 1));
});

test('the stack at its deepest', { skip: NO_EMULATOR }, async (t) => {
  const [deepest, budget] = (process.env.WSLINK_BUDGET ?? 'Infinity,Infinity').split(',').map(Number);
  const { statics, stack } = await memory();
  t.diagnostic(`static RAM ${statics} bytes, stack ${stack} bytes, ${statics + stack} in all`);
  assert.ok(stack <= deepest, `at most ${deepest}`);
  assert.ok(statics + stack <= budget, `at most ${budget}`);
});
