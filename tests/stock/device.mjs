// The stock clients against the scope's firmware; board.mjs says where that is.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { NO_EMULATOR, PEERS, URL_WS, client, guest, memory, page, raw } from './board.mjs';
import { Client, NAMES, VERSIONS, bytesOf, msgpack } from './clients.mjs';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const fill = (length, seed) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);

test('the page', async () => {
  const { response, body } = await page('/');
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers['content-encoding'], 'gzip');
  assert.equal(body.length, Number(response.headers['content-length']));
  const again = await page('/', { 'if-none-match': response.headers.etag });
  assert.equal(again.response.statusCode, 304);
  assert.equal((await page('/nothing')).response.statusCode, 404);
});

/** Of the first mebibyte of the generator as it is set in the beginning, on any machine. */
const MEBIBYTE = '8383b1ec577ca3c1653b7495b83ab251c7deeb4789076a2466f3754e99399c35';

/** The methods and topics of the scope. */
const DESCRIBED = [
  'scope.capture',
  'scope.settings.get',
  'scope.settings.set',
  'scope.firmware_update',
  'scope.calibrate',
  'scope.trace',
  'scope.settings',
];

for (const version of VERSIONS) {
  test(`${NAMES[version]}: hello with a wrong secret`, async () => {
    const peer = new Client(version, URL_WS, 'wrong');
    await assert.rejects(peer.hello());
    peer.socket.terminate();
  });

  test(`${NAMES[version]}: settings, uploads, calls side by side`, async () => {
    const peer = await client(version);
    const settings = await peer.call('scope.settings.get');
    assert.equal(settings.waveform, 'sine');
    for (const size of [0, 1, 100, 700]) {
      const image = fill(size, size);
      const update = await peer.call('scope.firmware_update', [peer.attach(image)]);
      assert.deepEqual([update.length, update.digest], [size, sha256(image)]);
    }
    let slow = false;
    const calibration = peer.call('scope.calibrate', [1]).then(() => (slow = true));
    await peer.call('scope.settings.get');
    assert.equal(slow, false);
    await calibration;
    await peer.close();
  });

  test(`${NAMES[version]}: the whole description, in pages`, async () => {
    const peer = await client(version);
    const [names, limits] = [[], []];
    for (let page = 0; page !== null; ) {
      const part = await peer.call('wslink.describe', [page]);
      names.push(...part.methods.map((it) => it.name), ...part.topics.map((it) => it.name));
      if (part.limits) limits.push(part.limits.calls);
      page = part.next;
    }
    assert.deepEqual(names, DESCRIBED);
    assert.deepEqual(limits, [2]);
    await peer.close();
  });

  test(`${NAMES[version]}: a mebibyte, and small calls`, async (t) => {
    const peer = await client(version);
    const began = performance.now();
    const { samples } = await peer.call('scope.capture', [1 << 18]);
    const seconds = (performance.now() - began) / 1000;
    const bytes = await bytesOf(samples);
    assert.equal(bytes.length, 1 << 20);
    assert.equal(sha256(bytes), MEBIBYTE);
    const start = performance.now();
    for (let i = 0; i < 300; i += 1) await peer.call('scope.settings.get');
    const rate = 300 / ((performance.now() - start) / 1000);
    t.diagnostic(`${(1024 / seconds).toFixed(0)} KiB/s, ${rate.toFixed(0)} calls/s`);
    await peer.close();
  });

  test(`${NAMES[version]}: a mebibyte up, read as it comes`, async (t) => {
    const peer = await client(version);
    const image = fill(1 << 20, version);
    const began = performance.now();
    const update = await peer.call('scope.firmware_update', [peer.attach(image)]);
    const seconds = (performance.now() - began) / 1000;
    assert.deepEqual([update.length, update.digest], [1 << 20, sha256(image)]);
    t.diagnostic(`${(1024 / seconds).toFixed(0)} KiB/s`);
    // An attachment of that size for another method is told its limit, and the next call is read.
    await assert.rejects(peer.call('scope.capture', [peer.attach(image)]), { code: -32003 });
    await peer.call('scope.settings.get');
    await peer.close();
  });

  test(`${NAMES[version]}: publications`, async () => {
    const peer = await client(version);
    const traces = await peer.subscribe('scope.trace');
    let last = -1;
    for (let i = 0; i < 10; i += 1) {
      const { n, samples } = await traces.next();
      assert.ok(n > last);
      assert.equal((await bytesOf(samples)).length, 2000);
      last = n;
    }
    await peer.close();
  });
}

test('small calls while a mebibyte comes up in 2.x', async (t) => {
  const peer = await raw(2);
  const { maxMsgSize } = (await peer.hello()).result;
  const image = fill(1 << 20, 9);
  const upload = { wslink: '1.0', id: 'rpc:up:0', method: 'scope.firmware_update', args: [image] };
  const message = msgpack.encode({ ...upload, kwargs: {} });
  let small = 0;
  for (let at = 0; at < message.length; at += maxMsgSize - 12) {
    peer.sendPart(77, at, message.length, message.subarray(at, at + maxMsgSize - 12));
    // Behind the last one the answer to the upload would pass those that are waited for.
    if (at % 16 === 0 && at + maxMsgSize < message.length) {
      const id = `rpc:small:${small}`;
      peer.send({ wslink: '1.0', id, method: 'scope.settings.get', args: [], kwargs: {} });
      assert.equal((await peer.answer(id)).result.waveform, 'sine');
      small += 1;
    }
  }
  const { result } = await peer.answer('rpc:up:0');
  assert.deepEqual([result.length, result.digest], [1 << 20, sha256(image)]);
  t.diagnostic(`${small} calls in between`);
  await peer.close();
});

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** Milliseconds that a small call takes, in the middle of a hundred of each peer. */
async function latency(peers) {
  const each = [];
  for (let i = 0; i < 100; i += 1) {
    for (const peer of peers) {
      const began = performance.now();
      await peer.call('scope.settings.get');
      each.push(performance.now() - began);
    }
  }
  return median(each);
}

/** Fails unless all places are taken. */
async function assertFull() {
  await assert.rejects(guest(1), /503/);
}

test('one of three stalls, and the others see no delay', async (t) => {
  const others = [await client(1), await client(2)];
  const alone = await latency(others);
  for (const version of VERSIONS) {
    const stalled = await client(version);
    stalled.session.call('scope.capture', [2_000_000]).catch(() => {});
    stalled.socket.pause();
    // It takes a while until all buffers on the way are full.
    let beside = Infinity;
    for (let i = 0; i < 10 && beside > 2 * alone + 1; i += 1) beside = await latency(others);
    t.diagnostic(`a call: ${alone.toFixed(2)} ms, beside a stalled peer ${beside.toFixed(2)} ms`);
    assert.ok(beside <= 2 * alone + 1, `${beside} ms`);
    // It was not given up in the meantime.
    await assertFull();
    stalled.socket.terminate();
  }
  for (const peer of others) await peer.close();
});

test('a full house answers 503 and still serves its page', async () => {
  const peers = [];
  for (let i = 0; i < PEERS; i += 1) peers.push(await client(VERSIONS[i % 2]));
  await assertFull();
  for (let i = 0; i < 10; i += 1) {
    assert.equal((await page('/')).response.statusCode, 200);
    // A place is free as soon as its peer has seen the end.
    await peers.shift().close();
    peers.push(await guest(VERSIONS[i % 2]));
    await assertFull();
  }
  for (const peer of peers) await peer.call('scope.settings.get');
  for (const peer of peers) await peer.close();
});

test('two hundred connections one after the other', async (t) => {
  const emulated = NO_EMULATOR === false;
  let before;
  for (let i = 0; i < 200; i += 1) {
    if (i === 20 && emulated) before = await memory();
    const peer = await client(VERSIONS[i % 2]);
    await peer.call('scope.settings.get');
    if (i % 3) await peer.close();
    else peer.socket.terminate();
  }
  if (!emulated) return t.diagnostic(NO_EMULATOR);
  // All that can grow is the stack. An interrupt takes 104 bytes wherever it comes.
  const after = await memory();
  t.diagnostic(`the stack: ${before.stack} bytes, then ${after.stack}`);
  assert.ok(after.stack <= before.stack + 104);
});
