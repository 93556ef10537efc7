// The browser module in Node, against the instrument and against upstream's server.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import {
  Client,
  ConnectionError,
  RpcError,
  TimeoutError,
  WslinkError,
  connect,
} from '../../adapters/browser/wslink.js';
import { freePort, instrument, until, upstream, within } from './servers.mjs';

globalThis.WebSocket ??= WebSocket;

const open = [];

afterEach(() => {
  for (const client of open.splice(0)) client.close();
});

async function connected(server, options) {
  const client = await within(connect({ url: server.url, ...options }), 'the connection');
  open.push(client);
  return client;
}

function begun(server, options) {
  const client = new Client({ url: server.url, ...options });
  client.states = [];
  client.addEventListener('state', (event) => client.states.push(event));
  open.push(client);
  return client;
}

const state = (client, name) =>
  until(`the state "${name}"`, () => client.states.find((event) => event.state === name));

/** Deterministic bytes. */
function fill(length, seed) {
  const bytes = new Uint8Array(length);
  let x = seed >>> 0;
  for (let i = 0; i < length; i += 1) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** What both servers can do, under the names that they have for it. */
const KINDS = {
  instrument: {
    start: instrument,
    upload: 'scope.firmware_update',
    blob: async (client, length) =>
      (await client.call('scope.capture', [length / 4])).samples,
    fail: ['scope.fail', { code: -32001 }],
    sleep: 'scope.calibrate',
  },
  upstream: {
    start: upstream,
    upload: 'judge.digest',
    blob: (client, length) => client.call('judge.blob', [length]),
    fail: ['judge.fail', { code: -32001, message: 'Exception raised' }],
    sleep: 'judge.sleep',
  },
};

for (const [name, kind] of Object.entries(KINDS)) {
  describe(name, () => {
    let server;
    before(async () => {
      server = await kind.start();
    }, { timeout: 180_000 });
    after(() => server?.kill());

    test('a call gives back what it was given', async () => {
      const client = await connected(server);
      const args = [null, true, -1, 2 ** 40, 0.5, 2n ** 63n, 'ü😀', [], { a: { b: [1] } }, 'x'.repeat(70_000)];
      const kwargs = { list: [1, [2]], none: null };
      assert.deepEqual(await client.call('scope.echo', args, kwargs), { args, kwargs });
      assert.match(client.clientId, /^\w+$/);
    });

    test('binary goes both ways, as Uint8Array', async () => {
      const client = await connected(server);
      for (const length of [0, 1, 255, 65_536, 5_000_000]) {
        const image = fill(length, length);
        const answer = await client.call(kind.upload, [image]);
        assert.deepEqual({ ...answer }, { length, digest: digest(image) });
        if (length % 4 || !length) continue;
        const blob = await kind.blob(client, length);
        assert.ok(blob instanceof Uint8Array);
        assert.equal(blob.length, length);
      }
      const bytes = fill(1000, 1);
      const { args } = await client.call('scope.echo', [{ deep: [bytes] }]);
      assert.deepEqual(args, [{ deep: [bytes] }]);
    });

    test('an upload tells how much has left', async () => {
      const client = await connected(server);
      const told = [];
      const onUpload = (sent, total) => told.push([sent, total]);
      await client.call(kind.upload, [fill(5_000_000, 2)], {}, { onUpload });
      const [last, total] = told.at(-1);
      assert.ok(total > 5_000_000);
      assert.equal(last, total);
      for (let i = 1; i < told.length; i += 1) assert.ok(told[i][0] > told[i - 1][0]);
    });

    test('errors carry what the server says', async () => {
      const client = await connected(server);
      await assert.rejects(client.call('no.such.method'), (error) => {
        assert.ok(error instanceof RpcError && error instanceof WslinkError);
        assert.deepEqual(
          [error.name, error.code, error.message, error.data],
          ['RpcError', -32601, 'Unregistered method called', 'no.such.method'],
        );
        return true;
      });
      const [method, wanted] = kind.fail;
      await assert.rejects(client.call(method, ['boom']), { name: 'RpcError', ...wanted });
      await assert.rejects(client.call('scope.echo', [() => 0]), TypeError);
      assert.deepEqual((await client.call('scope.echo', [1])).args, [1]);
    });

    test('a call can have a timeout', async () => {
      const client = await connected(server);
      await assert.rejects(client.call(kind.sleep, [0.5], {}, { timeout: 50 }), (error) => {
        assert.ok(error instanceof TimeoutError);
        assert.deepEqual([error.code, error.mayHaveRun], [-32099, true]);
        return true;
      });
      assert.deepEqual((await client.call('scope.echo', [1])).args, [1]);
      const impatient = await connected(server, { timeout: 50 });
      await assert.rejects(impatient.call(kind.sleep, [0.5]), TimeoutError);
      assert.ok(await impatient.call(kind.sleep, [0.2], {}, { timeout: 5000 }));
    });

    test('a call can be aborted', async () => {
      const client = await connected(server);
      const abort = new AbortController();
      const call = client.call(kind.sleep, [0.5], {}, { signal: abort.signal });
      abort.abort();
      await assert.rejects(call, { name: 'AbortError' });
      const again = client.call('scope.echo', [1], {}, { signal: abort.signal });
      await assert.rejects(again, { name: 'AbortError' });
      assert.deepEqual((await client.call('scope.echo', [1])).args, [1]);
    });

    test('an upload that is aborted on its way does not run, and harms nothing', async () => {
      const client = await connected(server);
      const abort = new AbortController();
      let reached = 0;
      const onUpload = (sent) => {
        reached = sent;
        abort.abort();
      };
      const options = { signal: abort.signal, onUpload };
      const upload = client.call(kind.upload, [fill(20_000_000, 3)], {}, options);
      const queued = client.call(kind.upload, [fill(2_000_000, 4)], {}, { timeout: 1 });
      const next = client.call('scope.echo', [1]);
      await Promise.all([
        assert.rejects(upload, { name: 'AbortError' }),
        assert.rejects(queued, { name: 'TimeoutError', mayHaveRun: false }),
      ]);
      assert.ok(reached < 20_000_000);
      assert.deepEqual((await next).args, [1]);
      const image = fill(3_000_000, 5);
      assert.equal((await client.call(kind.upload, [image])).digest, digest(image));
      assert.equal(client.state, 'open');
    });

    test('calls in flight fail when the connection ends, and say whether they may have run', async () => {
      const mine = await kind.start();
      const client = begun(mine);
      await client.opened();
      const fails = (call, mayHaveRun) =>
        assert.rejects(call, (error) => {
          assert.ok(error instanceof ConnectionError);
          assert.deepEqual([error.code, error.mayHaveRun], [-32099, mayHaveRun]);
          return true;
        });
      const image = fill(50_000_000, 6);
      const flying = fails(client.call(kind.sleep, [30]), true);
      const sending = fails(client.call(kind.upload, [image]), false);
      await new Promise((resolve) => setTimeout(resolve, 20));
      const since = performance.now();
      await mine.kill();
      await Promise.all([flying, sending]);
      assert.ok(performance.now() - since < 2000);
      await assert.rejects(client.call('scope.echo'), { name: 'ConnectionError', mayHaveRun: false });
      assert.ok((await state(client, 'waiting')).delay > 0);

      // And it comes back, with its subscriptions.
      const before = client.clientId;
      client.states.length = 0;
      const again = await kind.start({ port: mine.port });
      try {
        const { sameSession } = await state(client, 'open');
        assert.notEqual(sameSession, true);
        assert.notEqual(client.clientId, before);
        assert.deepEqual((await client.call('scope.echo', [1])).args, [1]);
      } finally {
        await again.kill();
      }
    });

    test('a wrong secret ends it for good', async () => {
      const refused = { name: 'RpcError', code: -32000, message: 'Authentication failed' };
      await assert.rejects(connect({ url: server.url, secret: 'wrong' }), refused);
      const client = begun(server, { secret: async () => 'wrong' });
      await assert.rejects(client.opened(), refused);
      assert.equal(client.state, 'closed');
      await assert.rejects(client.opened(), refused);
      assert.deepEqual(client.states.map((event) => event.state), ['closed']);
    });

    test('it can be closed at any time', async () => {
      const early = begun(server);
      early.close();
      await assert.rejects(early.opened(), ConnectionError);
      const client = await connected(server);
      const call = client.call(kind.sleep, [30]);
      client.close();
      client.close();
      await assert.rejects(call, { name: 'ConnectionError', message: 'Closed' });
      assert.equal(client.state, 'closed');
      assert.throws(() => client.subscribe('a', () => {}), ConnectionError);
      await assert.rejects(client.call('scope.echo'), ConnectionError);
    });

    test('too much at once fails at once', async () => {
      const client = await connected(server, { maxCalls: 3, maxBuffered: 1_000_000 });
      const calls = [0.2, 0.2, 0.2].map((seconds) => client.call(kind.sleep, [seconds]));
      await assert.rejects(client.call('scope.echo'), { message: 'Too many calls', mayHaveRun: false });
      await Promise.all(calls);
      const large = client.call('scope.echo', [new Uint8Array(1_000_000)]);
      await assert.rejects(large, { message: 'Too much to send', mayHaveRun: false });
      await client.call('scope.echo', [1]);
    });
  });
}

describe('without a server', () => {
  test('the first attempt of connect has to succeed', async () => {
    const url = `ws://127.0.0.1:${await freePort()}/ws`;
    await assert.rejects(connect({ url }), { name: 'ConnectionError' });
  });

  test('a client goes on until there is one', async () => {
    const port = await freePort();
    const client = begun({ url: `http://127.0.0.1:${port}/ws` }, { minDelay: 20, maxDelay: 100 });
    await until('three attempts', () => client.states.length > 6);
    for (const { state, delay } of client.states) {
      if (state === 'waiting') assert.ok(delay >= 10 && delay <= 100, `${delay}`);
    }
    const server = await instrument({ port });
    try {
      await within(client.opened(), 'the connection');
      assert.equal(client.url, server.url);
    } finally {
      client.close();
      await server.kill();
    }
  });

  test('a wrong URL is told at once', () => {
    assert.throws(() => new Client({ url: 'http://' }));
    assert.throws(() => new Client({ url: 'relative' }));
  });
});

describe('publications', () => {
  let server;
  before(async () => {
    server = await upstream();
  });
  after(() => server?.kill());

  test('come in order, small ones not before large ones', async () => {
    const client = await connected(server);
    const came = [];
    const stop = client.subscribe('judge.topic', ({ n, data }, about) => {
      assert.deepEqual(about, { topic: 'judge.topic', retained: false });
      assert.ok(data.every((byte) => byte === n));
      came.push(n);
    });
    const count = 40;
    await client.call('judge.publish', ['judge.topic', count, 300_000]);
    await until('all', () => came.length === count);
    assert.deepEqual(came, Array.from({ length: count }, (_, n) => n));
    stop();
    await client.call('judge.publish', ['judge.topic', 1, 1]);
    await client.call('scope.echo');
    assert.equal(came.length, count);
  });

  test('iterators keep the newest, and count the others', async () => {
    const client = await connected(server);
    const topic = client.topic('judge.*', { queue: 4 });
    const first = topic.next();
    await client.call('judge.publish', ['judge.many', 10, 1]);
    await client.call('judge.publish', ['other.many', 10, 1]);
    await client.call('scope.echo');
    assert.equal((await first).value.n, 0);
    const came = [];
    for await (const { n } of topic) {
      came.push(n);
      assert.deepEqual([topic.topic, topic.retained], ['judge.many', false]);
      if (n === 9) break;
    }
    assert.deepEqual(came, [6, 7, 8, 9]);
    assert.equal(topic.missed, 5);
    assert.deepEqual(await topic.next(), { value: undefined, done: true });
  });

  test('iterators end when the client is closed', async () => {
    const client = await connected(server);
    const topic = client.topic('judge.topic');
    const next = topic.next();
    client.close();
    assert.deepEqual(await next, { value: undefined, done: true });
    await assert.rejects(client.topic('judge.topic').next(), ConnectionError);
  });

  test("a callback's mistake is reported and reaches nobody else", async (t) => {
    const client = await connected(server);
    // The runner would take it for a failure.
    const runners = process.rawListeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    t.after(() => runners.forEach((listener) => process.on('uncaughtException', listener)));
    const reported = new Promise((resolve) => process.once('uncaughtException', resolve));
    const came = [];
    client.subscribe('judge.topic', () => {
      throw new Error('my mistake');
    });
    client.subscribe('judge.topic', ({ n }) => came.push(n));
    await client.call('judge.publish', ['judge.topic', 1, 1]);
    assert.equal((await within(reported, 'the report')).message, 'my mistake');
    await until('the value', () => came.length === 1);
    assert.equal(client.state, 'open');
  });
});

describe('the instrument alone', () => {
  let server;
  before(async () => {
    server = await instrument();
  });
  after(() => server?.kill());

  test('a slow call is overtaken', async () => {
    const client = await connected(server);
    const order = [];
    const slow = client.call('scope.calibrate', [0.5]).then(() => order.push('slow'));
    const fast = client.call('scope.echo').then(() => order.push('fast'));
    await Promise.all([slow, fast]);
    assert.deepEqual(order, ['fast', 'slow']);
  });

  test('a small call overtakes a large one that is being sent', async () => {
    const client = await connected(server);
    const order = [];
    const large = client.call('scope.firmware_update', [fill(40_000_000, 7)]).then(() => order.push('large'));
    const small = client.call('scope.echo').then(() => order.push('small'));
    await Promise.all([large, small]);
    assert.deepEqual(order, ['small', 'large']);
  });

  test('what is too large is refused by the call, with both numbers', async () => {
    const client = await connected(server);
    const call = client.call('scope.firmware_update', [new Uint8Array(70_000_000)]);
    await assert.rejects(call, (error) => error instanceof RpcError && error.data !== undefined);
    assert.ok((await client.call('scope.echo')).args);
  });

  test('traces come without a gap', async () => {
    const client = await connected(server);
    const came = [];
    for await (const { n, rate, samples } of client.topic('scope.trace')) {
      assert.equal(rate, 100_000);
      assert.equal(new Float32Array(samples.buffer).length, 500);
      came.push(n);
      if (came.length === 5) break;
    }
    assert.deepEqual(came, came.map((_, i) => came[0] + i));
  });

  test('subscriptions come back after a restart', async () => {
    const mine = await instrument();
    const client = begun(mine);
    const topic = client.topic('scope.trace', { queue: 1 });
    assert.equal((await topic.next()).done, false);
    await mine.kill();
    await state(client, 'waiting');
    const again = await instrument({ port: mine.port });
    try {
      await until('the first trace of the new server', async () => (await topic.next()).value.n < 5);
      const { sameSession, session } = client.states.at(-1);
      // Servers that cannot tell say nothing.
      assert.equal(sameSession, session === undefined ? undefined : false);
    } finally {
      client.close();
      await again.kill();
    }
  });
});
