// Kitware's own clients in Chromium, each on a small page, against the instrument.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { browser } from './chromium.mjs';
import { instrument } from './servers.mjs';
import { serve } from './web.mjs';

let chromium;
let server;

before(async () => {
  // A 1.x client sends an attachment as one WebSocket message.
  const env = { WSLINK_MAX_MSG_SIZE: String(8 << 20) };
  [server, chromium] = await Promise.all([instrument({ env }), browser()]);
});

after(async () => {
  await chromium?.close();
  await server?.kill();
});

for (const [version, folder] of [['1.12.4', 'wslink1'], ['2.5.0', 'wslink2']]) {
  describe(`client ${version}`, () => {
    let web;
    let page;
    const complaints = [];

    before(async () => {
      const package_ = new URL(`node_modules/${folder}/`, import.meta.url);
      assert.equal(JSON.parse(readFileSync(new URL('package.json', package_))).version, version);
      const files = {
        'index.html': '<!doctype html><title>client</title><script src="wslink.js"></script>',
        'wslink.js': new URL('dist/wslink.js', package_),
      };
      web = await serve(files, { port: server.port });
      page = await chromium.context.newPage();
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (/error|warning/.test(message.type()) && !/favicon|404/.test(message.text())) complaints.push(message.text());
      });
      await page.goto(web.url);
      await page.evaluate(async () => {
        const SmartConnect = wslink.SmartConnect ?? wslink.default.SmartConnect;
        const smart = SmartConnect.newInstance({ config: { secret: 'wslink-secret', sessionURL: `ws://${location.host}/ws` } });
        window.connection = await new Promise((resolve, reject) => {
          smart.onConnectionReady(resolve);
          smart.onConnectionError(reject);
          smart.onConnectionClose(reject);
          smart.connect();
        });
        window.session = connection.getSession();
        window.bytes = async (data) => new Uint8Array(data instanceof Blob ? await data.arrayBuffer() : data);
        window.digest = async (data) =>
          [...new Uint8Array(await crypto.subtle.digest('SHA-256', await bytes(data)))]
            .map((byte) => byte.toString(16).padStart(2, '0'))
            .join('');
      });
    });

    after(async () => {
      await page?.close();
      await web?.close();
    });

    test('calls, and is told of errors', async () => {
      const args = [1, 'ü', null, true, { a: [0.5] }];
      const echo = await page.evaluate((args) => session.call('scope.echo', args, { k: 1 }), args);
      assert.deepEqual(echo, { args, kwargs: { k: 1 } });
      const error = await page.evaluate(() => session.call('no.such').catch(({ code, message, data }) => ({ code, message, data })));
      assert.deepEqual(error, { code: -32601, message: 'Unregistered method called', data: 'no.such' });
      const range = await page.evaluate(() => session.call('scope.settings.set', [], { frequency: -1 }).catch(({ code, data }) => ({ code, data })));
      assert.deepEqual(range, { code: -32602, data: 'frequency' });
    });

    test('gets and sends 5 MB', async () => {
      const got = await page.evaluate(async () => {
        const { samples } = await session.call('scope.capture', [1_250_000]);
        return { length: (await bytes(samples)).length, digest: await digest(samples) };
      });
      assert.equal(got.length, 5_000_000);
      const again = await page.evaluate(async () => digest((await session.call('scope.capture', [1_250_000])).samples));
      assert.equal(again, got.digest);

      const image = Buffer.alloc(5_000_000, 'image');
      const sent = await page.evaluate(async () => {
        const data = new Uint8Array(5_000_000);
        for (let i = 0; i < data.length; i += 1) data[i] = 'image'.charCodeAt(i % 5);
        return session.call('scope.firmware_update', [session.addAttachment ? session.addAttachment(data.buffer) : data]);
      });
      assert.deepEqual(sent, { length: 5_000_000, digest: createHash('sha256').update(image).digest('hex') });
    });

    test('is sent publications, and can ask for fewer', async () => {
      const traces = await page.evaluate(
        () =>
          new Promise((resolve) => {
            const came = [];
            const subscription = session.subscribe('scope.trace', async ([{ n, samples }]) => {
              came.push([n, (await bytes(samples)).length]);
              if (came.length === 5) {
                subscription.unsubscribe();
                resolve(came);
              }
            });
          }),
      );
      const [[first]] = traces;
      assert.deepEqual(traces, [0, 1, 2, 3, 4].map((i) => [first + i, 2000]));

      const asked = await page.evaluate(async () => {
        const topics = [];
        session.subscribe('scope.text', ([text]) => topics.push(text));
        const { topics: subscribed } = await session.call('wslink.subscribe', ['scope.settings']);
        await session.call('scope.publish', ['not for me']);
        await session.call('wslink.subscribe', ['scope.text']);
        await session.call('scope.publish', ['for me']);
        await session.call('scope.echo');
        return { subscribed, topics };
      });
      assert.deepEqual(asked, { subscribed: ['scope.settings'], topics: ['for me'] });
    });

    test('can ask for progress, and cancel', async () => {
      const { told, error } = await page.evaluate(async () => {
        const told = [];
        session.subscribe('wslink.progress', ([{ token, done, total }]) => told.push([token, done, total]));
        await session.call('scope.calibrate', [0.5], { wslink_token: 7 });
        const call = session.call('scope.calibrate', [60], { wslink_token: 8 }).catch(({ code }) => code);
        const cancelled = await session.call('wslink.cancel', [8]);
        return { told, error: [cancelled, await call] };
      });
      assert.ok(told.length > 1);
      assert.deepEqual(told.at(-1), [7, 10, 10]);
      assert.deepEqual(error, [true, -32005]);
    });

    test('complained about nothing', () => assert.deepEqual(complaints, []));
  });
}
