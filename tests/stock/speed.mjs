// How fast the firmware's service is beside a bare WebSocket on the same network stack, in the same
// emulated chip: WSLINK_PORTS names the ports of both. `cargo xtask speed` builds and starts it.
//
// Frames are made once and their answers counted, so that this side costs the same for both.

import { once } from 'node:events';
import { connect } from 'node:net';
import { VERSIONS, msgpack } from './clients.mjs';

const [WSLINK, BARE] = process.env.WSLINK_PORTS.split(',').map(Number);
const SIZE = 100 << 10;
const CALLS = 100;
const BULKS = 3;
const SAMPLES = 15;

const HEAD =
  'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

const say = (line) => process.stdout.write(`${line}\n`);
const sleep = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

function frame(opcode, payload) {
  const small = payload.length < 126;
  const size = small ? [128 | payload.length] : [128 | 126, payload.length >> 8, payload.length & 255];
  return Buffer.concat([Buffer.from([128 | opcode, ...size, 0, 0, 0, 0]), payload]);
}

function message(version, envelope) {
  if (version === 1) return frame(1, Buffer.from(JSON.stringify(envelope)));
  const content = msgpack.encode(envelope);
  const header = Buffer.alloc(12);
  header.writeUInt32LE(7, 0);
  header.writeUInt32LE(content.length, 8);
  return frame(2, Buffer.concat([header, content]));
}

class Line {
  static async open(port) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay();
    const line = new Line();
    line.socket = socket;
    line.come = 0;
    socket.on('data', (data) => {
      line.come += data.length;
      if (line.come >= line.wanted) line.enough();
    });
    await line.length(HEAD);
    return line;
  }

  /** How many bytes come back, and those are more than `least`. */
  async length(bytes, least = 0) {
    this.come = 0;
    this.wanted = Infinity;
    this.socket.write(bytes);
    let before = -1;
    while (before !== this.come || this.come <= least) {
      before = this.come;
      await sleep(500);
    }
    return this.come;
  }

  /** Sends that, again and again, and tells how often in a second. */
  async rate(bytes, length, times) {
    const began = performance.now();
    for (let i = 0; i < times; i += 1) {
      this.come = 0;
      this.wanted = length;
      const answer = new Promise((resolve) => (this.enough = resolve));
      this.socket.write(bytes);
      await answer;
    }
    return (times * 1000) / (performance.now() - began);
  }
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

/** The rates of both and their ratio, taken in turn: a busy machine changes them from one moment to the next. */
async function compare(one, other, times) {
  const samples = [];
  for (let i = 0; i < SAMPLES; i += 1) {
    const rate = await one.line.rate(one.bytes, one.length, times);
    const bare = await other.line.rate(other.bytes, other.length, times);
    samples.push([rate, bare, rate / bare]);
  }
  return [0, 1, 2].map((column) => median(samples.map((sample) => sample[column])));
}

const bare = await Line.open(BARE);
for (const version of VERSIONS) {
  const line = await Line.open(WSLINK);
  await line.length(message(version, { id: 'system:c0:0', method: 'wslink.hello', args: [{ secret: 'wslink-secret' }] }));
  const request = (method, args) =>
    message(version, { wslink: '1.0', id: 'rpc:c0:7', method, args, kwargs: {} });

  const call = request('speed.echo', ['x'.repeat(20)]);
  const small = { line, bytes: call, length: await line.length(call) };
  // As many bytes as the longer of both ways.
  const payload = Buffer.alloc(Math.max(call.length - 6, small.length - 2), 'x');
  const echo = frame(2, payload);
  const echoed = { line: bare, bytes: echo, length: await bare.length(echo) };
  const [calls, echoes, ratio] = await compare(small, echoed, CALLS);

  const load = request('speed.bulk', []);
  const bulk = { line, bytes: load, length: await line.length(load, SIZE) };
  const asked = frame(2, Buffer.from('B'.repeat(60)));
  const plain = { line: bare, bytes: asked, length: await bare.length(asked, SIZE) };
  const [loads, plains, share] = await compare(bulk, plain, BULKS);
  const kilobytes = (rate) => ((rate * SIZE) / 1000).toFixed(0);

  say(
    `${version}.x: ${call.length} bytes there and ${small.length} back: ${calls.toFixed(0)} calls a second, ` +
      `${echoes.toFixed(0)} bare, ${ratio.toFixed(2)}`,
  );
  say(
    `${version}.x: 100 KiB from flash: ${kilobytes(loads)} KB a second, ${kilobytes(plains)} bare, ` +
      `${share.toFixed(2)}`,
  );
  line.socket.destroy();
  await sleep(500);
}
bare.socket.destroy();
