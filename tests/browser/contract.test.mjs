// What the module does with a server that says what a test wants it to say: the methods that only
// our servers have, chunks of any shape, and a server that falls silent.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { decode, encode } from '@msgpack/msgpack';
import WebSocket, { WebSocketServer } from 'ws';
import { Client, ConnectionError, RpcError, connect } from '../../adapters/browser/wslink.js';
import { until, within } from './servers.mjs';

globalThis.WebSocket ??= WebSocket;

const SOURCE = new URL('../../adapters/browser/wslink.js', import.meta.url);
const UNKNOWN = { error: { code: -32601, message: 'Unregistered method called' } };
const cleaners = [];

afterEach(() => {
  for (const clean of cleaners.splice(0)) clean();
});

/** A server of one connection at a time that answers by `methods`, and notes what it was asked. */
class Fake {
  methods = {};
  calls = [];
  frames = [];
  session = 'a'.repeat(32);
  limit = 4096;
  #number = 0;

  static async start(methods = {}) {
    const fake = new Fake();
    fake.server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(fake.server, 'listening');
    fake.url = `ws://127.0.0.1:${fake.server.address().port}/`;
    cleaners.push(() => {
      for (const socket of fake.server.clients) socket.terminate();
      fake.server.close();
    });
    fake.methods = {
      'wslink.hello': () => ({ result: { clientID: 'cfake', maxMsgSize: fake.limit } }),
      'wslink.describe': () => ({ result: { session: fake.session, methods: [], topics: [] } }),
      'wslink.subscribe': () => ({ result: { topics: [] } }),
      'wslink.unsubscribe': () => ({ result: { topics: [] } }),
      echo: ({ args, kwargs }) => ({ result: { args, kwargs } }),
      ...methods,
    };
    fake.server.on('connection', (socket) => fake.#serve(socket));
    return fake;
  }

  #serve(socket) {
    this.socket = socket;
    const parts = new Map();
    socket.on('message', (data) => {
      this.frames.push(data.length);
      const [id, offset, total] = [0, 4, 8].map((at) => data.readUInt32LE(at));
      const part = parts.get(id) ?? { bytes: Buffer.alloc(total), left: total };
      parts.set(id, part);
      data.copy(part.bytes, offset, 12);
      part.left -= data.length - 12;
      if (part.left) return;
      parts.delete(id);
      const message = decode(part.bytes, { useBigInt64: false });
      this.calls.push(message);
      const answer = (this.methods[message.method] ?? (() => UNKNOWN))(message);
      if (answer) this.send({ id: message.id, ...answer });
    });
  }

  send(message, size = 1 << 30) {
    const bytes = encode({ wslink: '1.0', ...message });
    for (let at = 0; at < bytes.length; at += size) this.chunk(this.#number, at, bytes.length, bytes.subarray(at, at + size));
    this.#number += 1;
  }

  chunk(id, offset, total, content) {
    const header = Buffer.alloc(12);
    [id, offset, total].forEach((field, i) => header.writeUInt32LE(field, 4 * i));
    this.socket.send(Buffer.concat([header, content]));
  }

  publish(topic, result, number = 0) {
    this.send({ id: `publish:${topic}:${number}`, result });
  }

  asked(method) {
    return this.calls.filter((call) => call.method === method).map((call) => call.args);
  }
}

async function pair(methods, options) {
  const fake = await Fake.start(methods);
  const client = await within(connect({ url: fake.url, minDelay: 10, ...options }), 'the connection');
  cleaners.push(() => client.close());
  client.states = [];
  client.addEventListener('state', (event) => client.states.push(event));
  return { fake, client };
}

const opened = (client) =>
  until('the next connection', () => client.states.find(({ state }) => state === 'open'));

test('it is small', () => {
  const size = gzipSync(readFileSync(SOURCE), { level: 9 }).length;
  assert.ok(size <= 6 * 1024, `${size} bytes`);
});

describe('subscriptions', () => {
  test('the server is asked for what is listened to, and for no more', async () => {
    const { fake, client } = await pair();
    assert.deepEqual(fake.asked('wslink.unsubscribe'), [['*']]);
    assert.deepEqual(fake.asked('wslink.subscribe'), [['wslink.lagged']]);
    fake.calls.length = 0;
    const stops = [
      client.subscribe('a.b', () => {}, { max_rate: 5 }),
      client.subscribe('a.b', () => {}, { max_rate: 20 }),
      client.subscribe('a.b', () => {}),
      client.subscribe('a.*', () => {}, { max_rate: 1 }),
    ];
    await client.call('echo');
    assert.deepEqual(fake.asked('wslink.subscribe'), [
      ['a.b', 5], ['a.b', 20], ['a.b', null], ['a.*', 1],
    ]);
    fake.calls.length = 0;
    stops[2]();
    stops[2]();
    await client.call('echo');
    assert.deepEqual(fake.asked('wslink.subscribe'), [['a.b', 20]]);
    fake.calls.length = 0;
    stops[3]();
    await client.call('echo');
    // What the prefix took away is asked for again.
    assert.deepEqual(fake.asked('wslink.unsubscribe'), [['a.*']]);
    assert.deepEqual(fake.asked('wslink.subscribe'), [['a.b', 20]]);
    fake.calls.length = 0;
    stops[0]();
    stops[1]();
    await client.call('echo');
    assert.deepEqual(fake.asked('wslink.unsubscribe'), [['a.b']]);
  });

  test('prefixes match whole parts, retained values are marked', async () => {
    const { fake, client } = await pair();
    const came = [];
    client.subscribe('a.*', (value, { topic, retained }) => came.push([value, topic, retained]));
    client.subscribe('a.b', (value) => came.push(value));
    fake.publish('ab.c', 0);
    fake.publish('a.b', 1, 1);
    fake.publish('a', 2);
    fake.publish('a.b.c', 3, 0);
    await client.call('echo');
    assert.deepEqual(came, [[1, 'a.b', true], 1, [3, 'a.b.c', false]]);
    const all = client.topic('*');
    const next = all.next();
    fake.publish('x', 4, 1);
    assert.deepEqual(await next, { value: 4, done: false });
    assert.deepEqual([all.topic, all.retained], ['x', true]);
  });

  test('what the server lost is counted', async () => {
    const { fake, client } = await pair();
    const a = client.topic('a');
    const b = client.topic('b');
    const [first] = [a.next(), b.next()];
    fake.publish('wslink.lagged', { topic: 'a', missed: 7 });
    fake.publish('a', 1);
    await first;
    assert.deepEqual([a.missed, b.missed], [7, 0]);
  });

  test('they come back, and it is told whether the server is the same', async () => {
    const { fake, client } = await pair();
    client.subscribe('a.b', () => {}, { max_rate: 5 });
    await client.call('echo');
    fake.calls.length = 0;
    fake.socket.terminate();
    assert.equal((await opened(client)).sameSession, true);
    assert.deepEqual(fake.asked('wslink.subscribe').at(-1), ['a.b', 5]);
    client.states.length = 0;
    fake.session = 'b'.repeat(32);
    fake.socket.terminate();
    assert.equal((await opened(client)).sameSession, false);
    client.states.length = 0;
    fake.methods['wslink.describe'] = () => UNKNOWN;
    fake.socket.terminate();
    assert.equal((await opened(client)).sameSession, undefined);
  });
});

describe('long calls', () => {
  test('tell their progress to the call that asked', async () => {
    const { fake, client } = await pair({ work: () => undefined });
    const told = [];
    const call = client.call('work', [1], { a: 2 }, { onProgress: (...args) => told.push(args) });
    const other = client.call('work', [], {}, { onProgress: () => assert.fail() });
    await until('the call', () => fake.asked('work').length === 2);
    const [{ id, args, kwargs }] = fake.calls.filter(({ method }) => method === 'work');
    assert.deepEqual([args, kwargs.a, typeof kwargs.wslink_token], [[1], 2, 'number']);
    fake.publish('wslink.progress', { token: kwargs.wslink_token, done: 1, total: 2 });
    fake.publish('wslink.progress', { token: kwargs.wslink_token, done: 2, total: null });
    fake.publish('wslink.progress', { token: 12_345, done: 2, total: null });
    fake.send({ id, result: 'done' });
    assert.equal(await call, 'done');
    assert.deepEqual(told, [[1, 2], [2, null]]);
    fake.publish('wslink.progress', { token: kwargs.wslink_token, done: 3, total: 3 });
    await client.call('echo');
    assert.equal(told.length, 2);
    client.close();
    await assert.rejects(other, ConnectionError);
  });

  test('are cancelled by their token', async () => {
    const { fake, client } = await pair({ work: () => undefined, 'wslink.cancel': () => ({ result: true }) });
    const abort = new AbortController();
    const call = client.call('work', [], {}, { signal: abort.signal });
    await until('the call', () => fake.asked('work').length);
    abort.abort(new Error('enough'));
    await assert.rejects(call, { message: 'enough' });
    await client.call('echo');
    const [{ kwargs }] = fake.calls.filter(({ method }) => method === 'work');
    assert.deepEqual(fake.asked('wslink.cancel'), [[kwargs.wslink_token]]);
    const { signal } = new AbortController();
    await assert.rejects(client.call('work', [], {}, { signal, timeout: 10 }), { name: 'TimeoutError' });
    await client.call('echo');
    assert.equal(fake.asked('wslink.cancel').length, 2);
  });

  test('have no token where they need none, and for servers that know none', async () => {
    const { fake, client } = await pair({ 'wslink.describe': () => UNKNOWN });
    const { signal } = new AbortController();
    const options = { signal, onProgress() {} };
    assert.deepEqual((await client.call('echo', [], {}, options)).kwargs, {});
    fake.methods['wslink.describe'] = () => ({ result: { session: 'x' } });
    client.states.length = 0;
    fake.socket.terminate();
    await opened(client);
    assert.deepEqual((await client.call('echo')).kwargs, {});
    assert.deepEqual(Object.keys((await client.call('echo', [], {}, options)).kwargs), ['wslink_token']);
  });
});

describe('chunks', () => {
  test('of what leaves are as large as the server wants', async () => {
    for (const limit of [0, 1, 13, 20, 100, 1_000_000, undefined]) {
      const { fake, client } = await pair();
      fake.limit = limit;
      client.states.length = 0;
      fake.socket.terminate();
      await opened(client);
      fake.frames.length = 0;
      const data = 'x'.repeat(limit && limit < 100 ? 200 : 600_000);
      assert.equal((await client.call('echo', [data])).args[0], data);
      const most = Math.max(13, Math.min(limit || Infinity, 64 << 10));
      assert.equal(Math.max(...fake.frames), most, `${limit}`);
      client.close();
    }
  });

  test('of what comes may be mixed, backwards, and of any size', async () => {
    const { fake, client } = await pair();
    const came = [];
    client.subscribe('*', (value) => came.push(value));
    const [a, b] = ['a', 'b'].map((letter) =>
      encode({ id: `publish:${letter}:0`, result: letter.repeat(100) }),
    );
    for (let at = 0; at < a.length; at += 10) {
      fake.chunk(1, at, a.length, a.subarray(at, at + 10));
      const back = Math.floor((b.length - 1) / 10) * 10 - at;
      fake.chunk(2, back, b.length, b.subarray(back, back + 10));
    }
    fake.send({ id: 'publish:c:0', result: 'c' }, 1);
    await client.call('echo');
    assert.deepEqual(came.map((text) => text[0]).sort(), ['a', 'b', 'c']);
    assert.ok(came.every((text) => text.length === 100 || text === 'c'));
  });

  for (const [what, harm] of [
    ['a claim of 4 GiB', (fake) => fake.chunk(1, 0, 0xffffffff, Buffer.from([0xc0]))],
    ['content beyond the total', (fake) => fake.chunk(1, 9, 10, Buffer.from([1, 2]))],
    ['less than a header', (fake) => fake.socket.send(Buffer.from([1, 2, 3]))],
    ['what is not MessagePack', (fake) => fake.chunk(1, 0, 1, Buffer.from([0xc1]))],
    ['what is not an envelope', (fake) => fake.chunk(1, 0, 1, Buffer.from([0xc0]))],
    ['text', (fake) => fake.socket.send('{"wslink":"1.0"}')],
  ]) {
    test(`${what} ends the connection, and the client comes back`, async () => {
      const { fake, client } = await pair({ work: () => undefined });
      const call = client.call('work');
      harm(fake);
      await assert.rejects(call, { name: 'ConnectionError', message: /^Not wslink 2\.x/ });
      await opened(client);
      await client.call('echo');
    });
  }

  test('messages that mean nothing here are ignored', async () => {
    const { fake, client } = await pair();
    fake.send({});
    fake.send({ id: 'rpc:cfake:9999', result: 1 });
    fake.send({ id: 'publish:x:0', error: { code: -32002, message: 'no' } });
    fake.send({ id: 42 });
    fake.send({ id: 'system:c0:0', result: { clientID: 'cother' } });
    await client.call('echo');
    assert.deepEqual([client.state, client.clientId], ['open', 'cfake']);
  });
});

describe('a server that is silent', () => {
  test('is asked, and given up', async () => {
    const { fake, client } = await pair({ work: () => undefined }, { heartbeat: 100 });
    fake.calls.length = 0;
    const call = client.call('work');
    await until('two questions', () => fake.asked('wslink.hello').length > 1);
    assert.equal(client.state, 'open');
    fake.methods['wslink.hello'] = () => undefined;
    const since = performance.now();
    await assert.rejects(call, { name: 'ConnectionError', message: 'The server is silent', mayHaveRun: true });
    assert.ok(performance.now() - since < 1000);
  });

  test('at the start is given up too', async () => {
    const fake = await Fake.start({ 'wslink.hello': () => undefined });
    const options = { url: fake.url, connectTimeout: 50 };
    await assert.rejects(connect(options), { name: 'ConnectionError', message: 'No answer' });
  });
});

test('the hello carries a secret that is asked for each time, and other fields', async () => {
  const secrets = ['one', 'two'];
  const options = { secret: async () => secrets.shift(), hello: { token: 't' } };
  const { fake, client } = await pair({}, options);
  fake.socket.terminate();
  await opened(client);
  assert.deepEqual(fake.asked('wslink.hello'), [
    [{ secret: 'one', token: 't' }], [{ secret: 'two', token: 't' }],
  ]);
});

test('without reconnection the end is the end, and iterators throw why', async () => {
  const fake = await Fake.start();
  const client = new Client({ url: fake.url, reconnect: false });
  await client.opened();
  const next = client.topic('a').next();
  fake.socket.close(4000, 'because');
  await assert.rejects(next, { name: 'ConnectionError', message: 'Disconnected: 4000 because' });
  assert.equal(client.state, 'closed');
});

test('errors of the server keep their data', async () => {
  const error = { code: -7, message: 'm', data: { a: [new Uint8Array(2)] } };
  const { client } = await pair({ fail: () => ({ error }) });
  await assert.rejects(client.call('fail'), (thrown) => {
    assert.ok(thrown instanceof RpcError);
    assert.deepEqual([thrown.code, thrown.message, thrown.data], [-7, 'm', error.data]);
    return true;
  });
});
