// Every limit of the firmware, on the wire: one below, at it, one above. What the limits do in all
// their cases stands in tests/scenarios; here the numbers are those of `Limits::device` and of the
// firmware's tables, in a memory that is just as large.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { CALLS, raw, tcp } from './board.mjs';
import { NAMES, VERSIONS, msgpack, within } from './clients.mjs';

const [MESSAGE, ID, DEPTH, HEAD] = [1012, 64, 16, 1044];
const FRAME = { 1: 1024, 2: 4096 };
const [PENDING, RANGES, ATTACHMENTS] = [2, 2, 2];
const LIMIT_EXCEEDED = -32003;
const TOO_BIG = { code: 1009, reason: 'message too big' };

let last;

afterEach(() => last?.close());

/** A peer, in place of the last one. */
async function fresh(version) {
  await last?.close();
  last = await raw(version);
  return last;
}

async function greeted(version) {
  const peer = await fresh(version);
  assert.ok((await peer.hello()).result);
  return peer;
}

/** What becomes of a request: `ok`, its error, or the end of the connection. */
async function outcome(peer, id) {
  const outcome = await within(Promise.race([peer.answer(id), peer.closed]), 'an outcome');
  return 'result' in outcome ? 'ok' : (outcome.error ?? outcome);
}

const isExceeded = (limit, needed, available) => (error) =>
  assert.deepEqual([error.code, error.data], [LIMIT_EXCEEDED, { limit, needed, available }]);

const isSame = (wanted) => (found) => assert.deepEqual(found, wanted);

/** One below the limit and at it all is well, one above comes this. */
async function around(limit, attempt, isRefused) {
  for (const size of [limit - 1, limit]) assert.equal(await attempt(size), 'ok', `${size}`);
  isRefused(await attempt(limit + 1));
}

const encode = (version, value) =>
  version === 1 ? Buffer.from(JSON.stringify(value)) : Buffer.from(msgpack.encode(value));

/** An encoded request of exactly that length. */
function request(version, id, length) {
  const make = (pad) => encode(version, { id, method: 'scope.settings.get', pad: 'p'.repeat(pad) });
  for (let pad = length; pad > 0; pad -= 1) {
    const bytes = make(pad);
    if (bytes.length === length) return bytes;
  }
  throw new Error(`no padding makes it ${length} bytes`);
}

/** A 2.x chunk: that part of a message. */
function chunk(message, bytes, from, to = bytes.length) {
  const header = Buffer.alloc(12);
  [message, from, bytes.length].forEach((word, i) => header.writeUInt32LE(word, i * 4));
  return Buffer.concat([header, bytes.subarray(from, to)]);
}

for (const version of VERSIONS) {
  const name = NAMES[version];

  test(`${name}: message`, async () => {
    await around(
      MESSAGE,
      async (length) => {
        const peer = await greeted(version);
        peer.sendBytes(request(version, 'a', length));
        return outcome(peer, 'a');
      },
      isExceeded('message', MESSAGE + 1, MESSAGE),
    );
  });

  test(`${name}: message in two pieces`, async () => {
    const attempt = async (length) => {
      const peer = await greeted(version);
      const bytes = request(version, 'a', length);
      if (version === 1) {
        peer.socket.send(bytes.subarray(0, 500), { fin: false, binary: false });
        peer.socket.send(bytes.subarray(500), { fin: true, binary: false });
      } else {
        peer.socket.send(chunk(1, bytes, 0, 500));
        peer.socket.send(chunk(1, bytes, 500));
      }
      return outcome(peer, 'a');
    };
    await around(MESSAGE, attempt, isExceeded('message', MESSAGE + 1, MESSAGE));
  });

  test(`${name}: message before hello`, async () => {
    await around(
      MESSAGE,
      async (length) => {
        const peer = await fresh(version);
        peer.sendBytes(request(version, 'a', length));
        const error = await outcome(peer, 'a');
        return error.message?.startsWith('Unauthorized') ? 'ok' : error;
      },
      isExceeded('message_before_hello', MESSAGE + 1, MESSAGE),
    );
  });

  test(`${name}: frame`, async () => {
    // Of a frame at the limit the message is too long in 1.x.
    const attempt = async (length) => {
      const peer = await greeted(version);
      if (version === 2) peer.socket.send(chunk(1, request(2, 'a', length - 12), 0));
      else peer.sendBytes(request(1, 'a', length));
      const found = await outcome(peer, 'a');
      return found.data?.limit === 'message' ? 'ok' : found;
    };
    await around(FRAME[version], attempt, isSame(TOO_BIG));
  });

  test(`${name}: id`, async () => {
    const attempt = async (length) => {
      const peer = await greeted(version);
      const id = 'i'.repeat(length);
      peer.send({ id, method: 'scope.settings.get' });
      return outcome(peer, id);
    };
    await around(ID, attempt, isSame({ code: 1008, reason: 'the id is too long' }));
  });

  test(`${name}: nesting`, async () => {
    const attempt = async (depth) => {
      const peer = await greeted(version);
      // The envelope is one.
      let value = 1;
      for (let i = 1; i < depth; i += 1) value = i % 2 ? [value] : { a: value };
      peer.send({ id: 'a', method: 'scope.settings.get', pad: value });
      return outcome(peer, 'a');
    };
    await around(DEPTH, attempt, isExceeded('depth', DEPTH + 1, DEPTH));
  });

  test(`${name}: calls`, async () => {
    // Whoever is one too many waits in the transport, and so do all behind it.
    for (const running of [CALLS - 1, CALLS, CALLS + 1]) {
      const peer = await greeted(version);
      for (let i = 0; i < running; i += 1) {
        peer.send({ id: `slow ${i}`, method: 'scope.calibrate', args: [0.5] });
      }
      peer.send({ id: 'quick', method: 'scope.settings.get' });
      const order = [];
      while (order.length <= running) {
        const { id } = await peer.inbox.find(({ id }) => /^(slow|quick)/.test(id));
        order.push(id.split(' ')[0]);
      }
      assert.equal(order.indexOf('quick') === 0, running < CALLS, `${running}: ${order}`);
    }
  });
}

test('2.x: pending messages', async () => {
  const attempt = async (count) => {
    const peer = await greeted(2);
    const messages = Array.from({ length: count }, (_, i) => request(2, `a${i}`, 100));
    messages.forEach((bytes, i) => peer.socket.send(chunk(i, bytes, 0, 50)));
    messages.forEach((bytes, i) => peer.socket.send(chunk(i, bytes, 50)));
    let found = 'ok';
    for (let i = 0; i < count && found === 'ok'; i += 1) found = await outcome(peer, `a${i}`);
    return found;
  };
  await around(PENDING, attempt, isSame({ code: 1008, reason: 'too many chunks' }));
});

test('2.x: stretches of a message', async () => {
  const attempt = async (gaps) => {
    const peer = await greeted(2);
    const bytes = request(2, 'a', 100);
    for (const odd of [0, 1]) {
      for (let i = odd; i < 2 * gaps; i += 2) peer.socket.send(chunk(1, bytes, i * 5, i * 5 + 5));
    }
    peer.socket.send(chunk(1, bytes, gaps * 10));
    return outcome(peer, 'a');
  };
  await around(RANGES, attempt, isSame({ code: 1008, reason: 'too many chunks' }));
});

test('1.x: attachments and their length', async () => {
  const attempt = async (count, length) => {
    const peer = await greeted(1);
    const keys = Array.from({ length: count }, (_, i) => `wslink_bin${i + 1}`);
    for (const key of keys) {
      peer.send({ method: 'wslink.binary.attachment', args: [key] });
      peer.socket.send(Buffer.alloc(length));
    }
    peer.send({ id: 'a', method: 'scope.settings.get', args: [keys.at(-1)] });
    // What is not an upload is held whole; that it is no argument of this method comes after.
    const error = await outcome(peer, 'a');
    return error.message?.startsWith('Invalid params: 1 positional') ? 'ok' : error;
  };
  const alone = (length) => attempt(1, length);
  await around(MESSAGE, alone, isExceeded('message', MESSAGE + 1, MESSAGE));
  const short = (count) => attempt(count, 10);
  await around(ATTACHMENTS, short, isSame({ code: 1008, reason: 'too many attachments' }));
});

test('the head of a request', async () => {
  const attempt = async (length) => {
    const socket = tcp();
    const head = 'GET /nothing HTTP/1.1\r\nHost: x\r\nPad: ';
    const answer = new Promise((resolve) => socket.once('data', resolve));
    socket.write(`${head}${'p'.repeat(length - head.length - 4)}\r\n\r\n`);
    const status = Number(String(await within(answer, 'an answer')).slice(9, 12));
    socket.destroy();
    return status === 404 ? 'ok' : status;
  };
  await around(HEAD, attempt, isSame(431));
});
