// What the stock clients see of the instrument (examples/instrument).

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import {
  Client,
  NAMES,
  Raw,
  VERSIONS,
  bytesOf,
  connect,
  msgpack,
  takeComplaints,
  within,
} from './clients.mjs';
import { killAll, start } from './server.mjs';

const SIZES = [0, 1, 255, 65_536, 1_000_000, 5_000_000];
const MOST_SAMPLES = 2_000_000;
const REFUSED = { code: -32000, message: 'Authentication failed' };
const UNAUTHORIZED = { code: -32000, message: 'Unauthorized: Skip message processing' };

let server;
let open = [];
let expected = [];

before(async () => {
  server = await start();
});

after(killAll);

afterEach(async () => {
  await Promise.all(open.splice(0).map((peer) => peer.close()));
  const unexpected = takeComplaints().filter((said) => !expected.some((known) => known.test(said)));
  expected = [];
  assert.deepEqual(unexpected, [], 'the stock clients complained');
});

async function client(version, url = server.url) {
  const client = await connect(version, url);
  open.push(client);
  return client;
}

async function raw(version) {
  const peer = await Raw.connect(version, server.url);
  open.push(peer);
  return peer;
}

/** The error that the call is answered with. */
async function errorOf(call) {
  const result = await call.then(
    (result) => ({ result }),
    (error) => ({ error }),
  );
  assert.ok('error' in result, `expected an error, the result is ${JSON.stringify(result.result)}`);
  if (result.error instanceof Error) throw result.error;
  return result.error;
}

/** Deterministic bytes: another seed, other bytes. */
function fill(length, seed) {
  const bytes = new Uint8Array(length);
  let x = seed >>> 0;
  for (let i = 0; i < length; i += 1) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

async function assertBytes(attachment, wanted) {
  const bytes = await bytesOf(attachment);
  assert.equal(bytes.length, wanted.length);
  assert.ok(Buffer.from(wanted).equals(bytes), 'the bytes differ');
}

async function samplesOf(attachment) {
  const bytes = await bytesOf(attachment);
  assert.equal(bytes.length % 4, 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

for (const version of VERSIONS) {
  describe(NAMES[version], { timeout: 300_000 }, () => {
    // -- hello ------------------------------------------------------------------------------------

    test('hello with the right secret', async () => {
      const peer = await client(version);
      assert.deepEqual(await peer.call('scope.echo'), { args: [], kwargs: {} });
    });

    test('hello with a wrong secret, then on a new session with the right one', async () => {
      expected = [/^Connection error .*Authentication failed/];
      for (const secret of ['wrong', 'wslink-secret ', 'wslink-secre', 'é']) {
        const peer = new Client(version, server.url, secret);
        open.push(peer);
        assert.deepEqual(await errorOf(peer.hello()), REFUSED);
        const { code } = await errorOf(peer.call('scope.echo'));
        assert.equal(code, -32099, 'the client itself refuses to call');
      }
      const peer = await client(version);
      assert.deepEqual((await peer.call('scope.echo', [1])).args, [1]);
    });

    test('each session has a client id of its own', async () => {
      const answers = [];
      for (let i = 0; i < 3; i += 1) answers.push(await (await raw(version)).hello());
      const ids = answers.map(({ result }) => result.clientID);
      for (const id of ids) assert.match(id, /^\w+(\.\w+)*$/);
      assert.equal(new Set(ids).size, 3);
      for (const { result } of answers) {
        assert.equal(typeof result.maxMsgSize, version === 1 ? 'undefined' : 'number');
      }
    });

    test('a refused hello leaves the connection open for another', async () => {
      const peer = await raw(version);
      for (const args of [[{ secret: 'wrong' }], [], [null], [{}], [{ secret: null }], ['text']]) {
        peer.send({ wslink: '1.0', id: 'system:c0:0', method: 'wslink.hello', args, kwargs: {} });
        assert.deepEqual((await peer.answer('system:c0:0')).error, REFUSED, JSON.stringify(args));
      }
      assert.ok((await peer.hello()).result.clientID);
    });

    test('a second hello keeps the client id, a late wrong one logs nobody out', async () => {
      const peer = await raw(version);
      const first = await peer.hello();
      assert.deepEqual(await peer.hello(), first);
      assert.deepEqual((await peer.hello('wrong')).error, REFUSED);
      peer.send({ id: 'rpc:c:0', method: 'scope.echo', args: [7] });
      assert.deepEqual((await peer.answer('rpc:c:0')).result.args, [7]);
    });

    // -- calls ------------------------------------------------------------------------------------

    test('args and kwargs', async () => {
      const peer = await client(version);
      const { rate, samples } = await peer.call('scope.capture', [1000]);
      assert.ok(rate > 0);
      assert.equal((await samplesOf(samples)).length, 1000);
      for (const [args, kwargs] of [
        [[300], {}],
        [[300, 0.0], {}],
        [[300, null], {}],
        [[300], { trigger: 0.0 }],
        [[], { samples: 300 }],
        [[], { trigger: null, samples: 300 }],
      ]) {
        const trace = await peer.call('scope.capture', args, kwargs);
        const samples = await samplesOf(trace.samples);
        assert.equal(samples.length, 300);
        assert.ok(samples.every(Number.isFinite));
      }
    });

    test('values keep their shape', async () => {
      const peer = await client(version);
      const args = [null, true, false, 0, '', [], {}, [[[]]], { a: { b: [{ c: null }] } }];
      const kwargs = { list: [1, [2, [3]]], map: { '': 0, 'a b': 1, result: 2 }, none: null };
      assert.deepEqual(await peer.call('scope.echo', args, kwargs), { args, kwargs });
    });

    test('unicode', async () => {
      expected = [/^JSON5: .*consider escaping/];
      const peer = await client(version);
      const args = [
        'é',
        '日本語',
        '😀𝄞',
        '\x00\x01\x1f\x7f',
        '"\\/\b\f\n\r\t',
        '\u2028\u2029',
        '</script>',
        '\ufeff',
        '\ud7ff\ue000\uffff',
        '\\u0041\\',
        '😀'.repeat(5000),
      ];
      const kwargs = Object.fromEntries(args.map((text, i) => [`${text.slice(0, 20)}${i}`, text]));
      assert.deepEqual(await peer.call('scope.echo', args, kwargs), { args, kwargs });
    });

    test('numbers', async () => {
      const peer = await client(version);
      const args = [
        0, 1, -1, 31, 32, 127, 128, 255, 256, 65_535, 65_536, -32, -33, -128, -129, -32_768,
        -32_769, 2_147_483_647, 2_147_483_648, -2_147_483_648, -2_147_483_649, 4_294_967_295,
        4_294_967_296, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 53, -(2 ** 63),
        2 ** 63, 1.5, -2.25, 0.1, 0.1 + 0.2, 1 / 3, Math.PI, 1e16, 1e21, 1e22, 1e300, 5e-324, 1e-7,
        2.2250738585072014e-308, Number.MAX_VALUE, -Number.MAX_VALUE, Number.EPSILON,
      ];
      assert.deepEqual((await peer.call('scope.echo', args)).args, args);
      // JSON.stringify writes null for them, MessagePack has them.
      const special = [NaN, Infinity, -Infinity];
      const wanted = version === 1 ? [null, null, null] : special;
      assert.deepEqual((await peer.call('scope.echo', special)).args, wanted);
    });

    test('many calls at once, each with its own answer', async () => {
      const peer = await client(version);
      const calls = Array.from({ length: 200 }, (_, i) => peer.call('scope.echo', [i]));
      const answers = await Promise.all(calls);
      assert.deepEqual(answers.map(({ args }) => args[0]), [...calls.keys()]);
    });

    // -- errors -----------------------------------------------------------------------------------

    test('unregistered method', async () => {
      const peer = await client(version);
      for (const method of ['scope.nothing', 'scope', 'Scope.capture', 'no method', '日本語']) {
        assert.deepEqual(await errorOf(peer.call(method)), {
          code: -32601,
          message: 'Unregistered method called',
          data: method,
        });
      }
      assert.deepEqual(await errorOf(peer.call('')), {
        code: -32601,
        message: 'Unregistered method called',
      });
    });

    test('unknown system method, before hello and after', async () => {
      const peer = await raw(version);
      const wanted = { code: -32601, message: 'Unknown system method called' };
      peer.send({ id: 'system:c0:1', method: 'wslink.goodbye', args: [] });
      assert.deepEqual((await peer.answer('system:c0:1')).error, wanted);
      await peer.hello();
      peer.send({ id: 'system:c0:2', method: 'scope.echo', args: [] });
      assert.deepEqual((await peer.answer('system:c0:2')).error, wanted);
    });

    test('call before hello', async () => {
      const peer = await raw(version);
      for (const method of ['scope.echo', 'scope.nothing']) {
        peer.send({ id: 'rpc:c:0', method, args: [], kwargs: {} });
        assert.deepEqual((await peer.answer('rpc:c:0')).error, UNAUTHORIZED);
      }
      assert.ok((await peer.hello()).result.clientID);
    });

    test('handler that fails', async () => {
      const peer = await client(version);
      for (const text of ['the trigger is stuck', '日本語 "quoted"\n']) {
        const { code, message, data } = await errorOf(peer.call('scope.fail', [text]));
        assert.deepEqual([code, message, data.method], [-32001, 'Exception raised', 'scope.fail']);
        assert.ok(data.exception.includes(text), data.exception);
      }
      assert.deepEqual((await peer.call('scope.echo', [1])).args, [1]);
    });

    test('result that cannot be serialized', async () => {
      const peer = await client(version);
      assert.deepEqual(await errorOf(peer.call('scope.unserializable')), {
        code: -32002,
        message: 'Method result cannot be serialized',
        data: 'scope.unserializable',
      });
      assert.deepEqual((await peer.call('scope.echo', [1])).args, [1]);
    });

    test('arguments that do not fit', async () => {
      const peer = await client(version);
      for (const [method, args, kwargs, named] of [
        ['scope.capture', [], {}, /samples/],
        ['scope.capture', [0], {}, /samples/],
        ['scope.capture', [MOST_SAMPLES + 1], {}, /samples/],
        ['scope.capture', [-1], {}, /samples/],
        ['scope.capture', [1.5], {}, /samples/],
        ['scope.capture', [2 ** 40], {}, /samples/],
        ['scope.capture', ['many'], {}, /samples/],
        ['scope.capture', [null], {}, /samples/],
        ['scope.capture', [[10]], {}, /samples/],
        ['scope.capture', [10, 'high'], {}, /trigger/],
        ['scope.capture', [10], { trigger: {} }, /trigger/],
        ['scope.capture', [10], { samples: 10 }, /samples/],
        ['scope.capture', [10], { colour: 'green' }, /colour/],
        ['scope.capture', [10, null, 3], {}, /./],
        ['scope.settings.set', [], { frequency: -1 }, /frequency/],
        ['scope.settings.set', [], { frequency: 1e30 }, /frequency/],
        ['scope.settings.set', [], { frequency: 'high' }, /frequency/],
        ['scope.settings.set', [], { waveform: 'heptagon' }, /waveform/],
        ['scope.settings.set', [], { colour: 'green' }, /colour/],
        ['scope.firmware_update', [], {}, /image/],
        ['scope.firmware_update', [12], {}, /image/],
        ['scope.firmware_update', ['text'], {}, /image/],
      ]) {
        const error = await errorOf(peer.call(method, args, kwargs));
        const call = `${method} ${JSON.stringify([args, kwargs])}: ${JSON.stringify(error)}`;
        assert.equal(error.code, -32602, call);
        assert.match(error.message, named, call);
      }
      assert.equal((await peer.call('scope.settings.get')).frequency > 0, true);
    });

    test('envelopes that are none', async () => {
      const peer = await raw(version);
      await peer.hello();
      for (const wrong of [{ args: null }, { args: 3 }, { method: null }, { method: ['a'] }]) {
        peer.send({ wslink: '1.0', id: 'rpc:c:1', method: 'scope.echo', ...wrong });
        const { error } = await peer.answer('rpc:c:1');
        assert.ok([-32600, -32601].includes(error.code), JSON.stringify([wrong, error]));
      }
      // Nothing is answered without an id.
      peer.send({ wslink: '1.0', method: 'scope.echo', args: [] });
      peer.send({ id: 'rpc:c:2', method: 'scope.echo', args: 'text', kwargs: [] });
      const next = await peer.inbox.find(({ id }) => !id?.startsWith('publish:'));
      assert.deepEqual(next.id, 'rpc:c:2');
      assert.deepEqual(next.result, { args: [], kwargs: {} });
    });

    test('a message that breaks off after its id', async () => {
      const peer = await raw(version);
      await peer.hello();
      const envelope = { wslink: '1.0', id: 'rpc:c:3', method: 'scope.echo', args: [1, [2]] };
      const whole = version === 1 ? Buffer.from(JSON.stringify(envelope)) : msgpack.encode(envelope);
      peer.sendBytes(whole.subarray(0, whole.length - 2));
      assert.equal((await peer.answer('rpc:c:3')).error.code, -32700);
      peer.send({ id: 'rpc:c:4', method: 'scope.echo', args: [1] });
      assert.deepEqual((await peer.answer('rpc:c:4')).result.args, [1]);
    });

    // -- attachments ------------------------------------------------------------------------------

    for (const size of SIZES) {
      test(`attachments of ${size} bytes, there and back`, async () => {
        const peer = await client(version);
        const image = fill(size, size + version);
        const update = await peer.call('scope.firmware_update', [peer.attach(image)]);
        assert.equal(update.length, size);
        assert.equal(update.digest, sha256(image));

        const { args } = await peer.call('scope.echo', [peer.attach(image)]);
        assert.equal(args.length, 1);
        await assertBytes(args[0], image);
      });
    }

    test('the largest capture', async () => {
      const peer = await client(version);
      const { samples } = await peer.call('scope.capture', [MOST_SAMPLES]);
      assert.equal((await bytesOf(samples)).length, 4 * MOST_SAMPLES);
    });

    test('attachments within args and kwargs', async () => {
      const peer = await client(version);
      const parts = [3, 0, 70_000, 1, 12].map((length, i) => fill(length, 100 + i));
      const keys = parts.map((part) => peer.attach(part));
      const { args, kwargs } = await peer.call(
        'scope.echo',
        [keys[0], 'text', [[keys[1]], { deep: { er: keys[2] } }]],
        { image: keys[3], list: [1, { of: [keys[4]] }] },
      );
      assert.equal(args[1], 'text');
      assert.equal(kwargs.list[0], 1);
      await assertBytes(args[0], parts[0]);
      await assertBytes(args[2][0][0], parts[1]);
      await assertBytes(args[2][1].deep.er, parts[2]);
      await assertBytes(kwargs.image, parts[3]);
      await assertBytes(kwargs.list[1].of[0], parts[4]);
    });

    test('attachments of calls in flight do not mix', async () => {
      const peer = await client(version);
      const parts = Array.from({ length: 30 }, (_, i) => fill(i * 1000, i));
      const answers = await Promise.all(
        parts.map((part) => peer.call('scope.echo', [], { part: peer.attach(part) })),
      );
      for (const [i, { kwargs }] of answers.entries()) await assertBytes(kwargs.part, parts[i]);
    });

    // -- publications -----------------------------------------------------------------------------

    test('the running trace', async () => {
      const peer = await client(version);
      const traces = await peer.subscribe('scope.trace');
      let last = -1;
      for (let i = 0; i < 3; i += 1) {
        const { n, rate, samples } = await traces.next();
        assert.ok(n > last, `${n} after ${last}`);
        assert.ok(rate > 0);
        assert.ok((await samplesOf(samples)).length > 0);
        last = n;
      }
      await traces.stop();
    });

    for (const other of VERSIONS) {
      test(`settings that another ${NAMES[other]} changed`, async () => {
        const here = await client(version);
        const there = await client(other);
        const inboxes = [await here.subscribe('scope.settings'), await there.subscribe('scope.settings')];
        const before = await there.call('scope.settings.get');
        for (const name of ['timebase', 'amplitude', 'frequency', 'waveform', 'noise']) {
          assert.ok(name in before, name);
        }
        const frequency = 400 + 10 * version + other + 0.5;
        await there.call('scope.settings.set', [], { frequency });
        for (const inbox of inboxes) {
          assert.deepEqual(await inbox.find((settings) => settings.frequency === frequency), {
            ...before,
            frequency,
          });
        }
        assert.deepEqual(await here.call('scope.settings.get'), { ...before, frequency });
        await there.call('scope.settings.set', [], { frequency: before.frequency });
      });
    }

    // -- order and life cycle ---------------------------------------------------------------------

    test('a fast call overtakes a slow one', async () => {
      const peer = await client(version);
      const order = [];
      const slow = peer.call('scope.calibrate', [2.0]).then((result) => {
        order.push('slow');
        return result;
      });
      const fast = peer.call('scope.capture', [16]).then(() => order.push('fast'));
      await fast;
      assert.ok('offset' in (await slow));
      assert.deepEqual(order, ['fast', 'slow']);
    });

    test('a connection that closes during its call disturbs no other', async () => {
      const peer = await client(version);
      const leaving = await client(version);
      // Its answer never comes, so nobody waits for it.
      leaving.session.call('scope.calibrate', [1.0]);
      const { wasClean } = await leaving.close();
      assert.ok(wasClean);
      assert.deepEqual((await peer.call('scope.echo', [1])).args, [1]);
    });

    test('reconnect after the server was killed and started again', async () => {
      expected = [/^Connection error/];
      const first = await start();
      const peer = await client(version, first.url);
      await peer.call('scope.echo', [1]);
      await first.kill();
      await within(peer.closed, "the connection's end");
      const { code } = await errorOf(peer.call('scope.echo'));
      assert.equal(code, -32099);

      const second = await start(first.port);
      try {
        await peer.hello();
        assert.deepEqual((await peer.call('scope.echo', [2])).args, [2]);
        const bytes = fill(1000, 9);
        await assertBytes((await peer.call('scope.echo', [peer.attach(bytes)])).args[0], bytes);
        await peer.close();
      } finally {
        await second.kill();
      }
    });
  });
}

describe('both clients at once', { timeout: 300_000 }, () => {
  for (const versions of [
    [1, 2, 1],
    [2, 1, 2],
  ]) {
    test(`three clients on one port: ${versions.map((v) => NAMES[v]).join(', ')}`, async () => {
      const peers = await Promise.all(versions.map((version) => client(version)));
      await Promise.all(
        peers.map(async (peer, p) => {
          const traces = await peer.subscribe('scope.trace');
          for (let i = 0; i < 20; i += 1) {
            const part = fill(10_000 * (p + 1) + i, 1000 * p + i);
            const [echo, capture] = await Promise.all([
              peer.call('scope.echo', [p, peer.attach(part)], { i }),
              peer.call('scope.capture', [100 * (p + 1)]),
            ]);
            assert.equal(echo.args[0], p);
            assert.equal(echo.kwargs.i, i);
            await assertBytes(echo.args[1], part);
            assert.equal((await samplesOf(capture.samples)).length, 100 * (p + 1));
          }
          const { samples } = await traces.next();
          assert.ok((await samplesOf(samples)).length > 0);
        }),
      );
    });
  }
});
