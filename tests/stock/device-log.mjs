// One session of a stock client, one thing after the other, for what the firmware logs of it.
// `cargo xtask device-log` runs it, and compares.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { client, page, patiently, raw, sleep, URL_WS } from './board.mjs';
import { Client } from './clients.mjs';

test('a session', async () => {
  assert.equal((await page('/')).response.statusCode, 200);
  await sleep(200);
  assert.equal((await page('/nothing')).response.statusCode, 404);
  await sleep(200);
  const stranger = await patiently(async () => new Client(2, URL_WS, 'wrong'));
  await assert.rejects(stranger.hello());
  stranger.socket.terminate();
  await sleep(500);

  const peer = await client(2);
  await peer.call('scope.settings.get');
  await assert.rejects(peer.call('scope.capture', [0]));
  await assert.rejects(peer.call('scope.capture', ['many']));
  await peer.call('scope.capture', [100]);
  await peer.close();
  await sleep(500);

  const loud = await raw(1);
  loud.socket.send('x'.repeat(200_000));
  await loud.closed;
  await sleep(500);
});
