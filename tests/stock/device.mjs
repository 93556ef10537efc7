// The stock clients against the scope's firmware, wherever it runs: WSLINK_DEVICE is its address,
// http://127.0.0.1:18080 unless told. `cargo xtask firmware --run` starts it in QEMU.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { test } from 'node:test';
import { Client, NAMES, VERSIONS, bytesOf } from './clients.mjs';

const DEVICE = process.env.WSLINK_DEVICE ?? 'http://127.0.0.1:18080';
const URL_WS = `${DEVICE.replace('http', 'ws')}/ws`;
const PEERS = 3;

const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const fill = (length, seed) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);

/** A place that was left a moment ago is free when the device has seen the end of it. */
async function client(version) {
  await sleep(10);
  const peer = new Client(version, URL_WS);
  await peer.hello();
  return peer;
}

function page(path, headers = {}) {
  return new Promise((resolve, reject) => {
    get(`${DEVICE}${path}`, { headers, agent: false }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ response, body: Buffer.concat(parts) }));
    }).on('error', reject);
  });
}

test('the page', async () => {
  const { response, body } = await page('/');
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers['content-encoding'], 'gzip');
  assert.equal(body.length, Number(response.headers['content-length']));
  const again = await page('/', { 'if-none-match': response.headers.etag });
  assert.equal(again.response.statusCode, 304);
  assert.equal((await page('/nothing')).response.statusCode, 404);
});

const digests = new Set();

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

  test(`${NAMES[version]}: a mebibyte, and small calls`, async (t) => {
    const peer = await client(version);
    const began = performance.now();
    const { samples } = await peer.call('scope.capture', [1 << 18]);
    const seconds = (performance.now() - began) / 1000;
    const bytes = await bytesOf(samples);
    assert.equal(bytes.length, 1 << 20);
    digests.add(sha256(bytes));
    assert.equal(digests.size, 1);
    const start = performance.now();
    for (let i = 0; i < 300; i += 1) await peer.call('scope.settings.get');
    const rate = 300 / ((performance.now() - start) / 1000);
    t.diagnostic(`${(1024 / seconds).toFixed(0)} KiB/s, ${rate.toFixed(0)} calls/s`);
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

test('one of three stalls, and the others see no delay', async (t) => {
  const stalled = await client(2);
  stalled.call('scope.capture', [2_000_000]).catch(() => {});
  stalled.socket.pause();
  const others = [await client(1), await client(2)];
  let longest = 0;
  for (let i = 0; i < 100; i += 1) {
    for (const peer of others) {
      const began = performance.now();
      await peer.call('scope.settings.get');
      longest = Math.max(longest, performance.now() - began);
    }
  }
  t.diagnostic(`the longest of 200 calls took ${longest.toFixed(0)} ms`);
  assert.ok(longest < 500);
  stalled.socket.terminate();
  for (const peer of others) await peer.close();
  await sleep(500);
});

test('a full house answers 503 and still serves its page', async () => {
  const peers = [];
  for (let i = 0; i < PEERS; i += 1) peers.push(await client(VERSIONS[i % 2]));
  const { response } = await page('/ws', {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  });
  assert.equal(response.statusCode, 503);
  // The spare socket answers one after the other: a stack without a queue refuses who comes between.
  await sleep(100);
  assert.equal((await page('/')).response.statusCode, 200);
  await peers.pop().close();
  await sleep(100);
  peers.push(await client(1));
  for (const peer of peers) await peer.call('scope.settings.get');
  for (const peer of peers) await peer.close();
});

test('two hundred connections one after the other', async () => {
  for (let i = 0; i < 200; i += 1) {
    const peer = await client(VERSIONS[i % 2]);
    await peer.call('scope.settings.get');
    if (i % 3) await peer.close();
    else peer.socket.terminate();
  }
});

test('hostile bytes', async () => {
  const head =
    'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
  const frame = (first, payload) => {
    const header = Buffer.from([first, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
    return Buffer.concat([header, payload]);
  };
  const chunk = (content) => {
    const header = Buffer.alloc(12);
    header.writeUInt32LE(content.length, 8);
    return frame(0x82, Buffer.concat([header, content]));
  };
  for (const bytes of [
    frame(0x81, Buffer.alloc(1000, '[')),
    frame(0x81, Buffer.alloc(1000, '{"a":')),
    chunk(Buffer.alloc(1000, 0x91)),
    chunk(Buffer.alloc(1000, 0x81)),
    chunk(Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff, ...Buffer.alloc(200, 0xc6)])),
    Buffer.alloc(1000, 0xff),
  ]) {
    const socket = connectTcp(Number(new URL(DEVICE).port), new URL(DEVICE).hostname);
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write(head);
    await sleep(50);
    socket.write(bytes);
    await sleep(100);
    socket.end();
    await ended;
  }
  const peer = await client(2);
  await peer.call('scope.settings.get');
  await peer.close();
});
