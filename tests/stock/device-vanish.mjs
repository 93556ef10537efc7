// Peers that vanish: nothing of them arrives any more, and no FIN says so. Each state of a connection
// has a deadline, behind which its place is free.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cable, NO_EMULATOR, URL_WS, client, page, patiently, raw, sleep, tcp } from './board.mjs';
import { Raw, msgpack } from './clients.mjs';

// `Deadlines::standard`, in seconds.
const [HELLO, PING, PONG, WRITE, CLOSE] = [10, 20, 10, 20, 5];
/** The board's clock stands still while a busy host has no time for it, but it is never ahead. */
const latest = (deadline) => deadline * 1.5 + 10;
const EARLY = 0.5;

let cable;

before(async () => {
  if (!NO_EMULATOR) cable = await Cable.open();
});

after(() => cable?.close());

/** A peer that has said hello; without publications nothing but pings is sent to it. */
async function greeted(version, { publications = false } = {}) {
  const peer = await raw(version);
  assert.ok((await peer.hello()).result);
  if (!publications) {
    peer.send({ id: 'quiet', method: 'wslink.unsubscribe', args: ['*'] });
    assert.ok((await peer.answer('quiet')).result);
  }
  return peer;
}

const now = () => performance.now() / 1000;

/** Takes each place that gets free, and tells when. */
async function places(count, began) {
  const [peers, times] = [[], []];
  while (peers.length < count && now() - began < latest(PING + PONG)) {
    try {
      const peer = await Raw.connect(2, URL_WS);
      assert.ok((await peer.hello()).result);
      times.push(now() - began);
      peers.push(peer);
    } catch (error) {
      assert.match(error.message, /503|ECONNRESET|hang up/);
      await sleep(200);
    }
  }
  for (const peer of peers) await peer.close();
  return times;
}

function assertTimes(times, deadlines) {
  assert.equal(times.length, deadlines.length, `free after ${times}`);
  for (const [i, deadline] of deadlines.entries()) {
    const fits = times[i] > deadline - EARLY && times[i] < latest(deadline);
    assert.ok(fits, `free after ${times} s, expected after ${deadlines}`);
  }
}

test('before hello, in a call, and during a download', { skip: NO_EMULATOR }, async (t) => {
  const silent = await raw(1);
  const calling = await greeted(1);
  calling.send({ id: 'long', method: 'scope.calibrate', args: [60] });
  const loading = await greeted(2);
  const began = now();
  // Chunks are of no interest.
  loading.socket.removeAllListeners('message');
  loading.send({ id: 'big', method: 'scope.capture', args: [2_000_000] });
  await new Promise((resolve) => loading.socket.once('message', resolve));
  for (const peer of [silent, calling, loading]) cable.lose(peer.socket._socket);
  const times = await places(3, began);
  t.diagnostic(`their places were free after ${times.map((it) => it.toFixed(1))} s`);
  assertTimes(times, [HELLO + CLOSE, WRITE, PING + PONG]);
});

test('before the upgrade, and amid uploads of both dialects', { skip: NO_EMULATOR }, async (t) => {
  // One place and no socket are left.
  const alive = await client(2);
  const [chunked, announced] = [await greeted(2), await greeted(1, { publications: true })];
  const began = now();
  const chunk = Buffer.concat([Buffer.alloc(12), msgpack.encode({ id: 'half', method: 'scope' })]);
  chunk.writeUInt32LE(7, 0);
  chunk.writeUInt32LE(1000, 8);
  chunked.socket.send(chunk);
  announced.send({ method: 'wslink.binary.attachment', args: ['wslink_bin1'] });
  announced.socket.send(Buffer.alloc(500), { fin: false });
  const asking = await patiently(async () => {
    const socket = tcp();
    socket.write('GET /ws HTTP/1.1\r\nHost: x\r\n');
    await sleep(300);
    // Sockets that were in use a moment ago may not listen yet.
    if (socket.destroyed) throw new Error('ECONNRESET');
    return socket;
  });
  for (const socket of [asking, chunked.socket._socket, announced.socket._socket]) cable.lose(socket);
  // All four sockets are in use: nobody listens until the one without a request is given up.
  assert.equal((await page('/')).response.statusCode, 200);
  const listening = now() - began;
  await alive.call('scope.settings.get');
  await alive.close();
  const [first] = await places(1, began);
  assert.ok(first < latest(HELLO), `the place of who lives is free after ${first} s`);
  const times = await places(3, began);
  t.diagnostic(`a page after ${listening.toFixed(1)} s, places after ${times.map((it) => it.toFixed(1))} s`);
  assertTimes([listening, ...times.slice(1)], [HELLO, WRITE, PING + PONG]);
  asking.destroy();
});
