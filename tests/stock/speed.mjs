// How fast the firmware's service is beside a bare WebSocket on the same network stack, in the same
// emulated chip: WSLINK_PORTS names the ports of both. `cargo xtask speed` builds and starts it.
//
// What is compared is how long the chip is busy, by its own clock: under `-icount` that is the number
// of instructions, whatever else this machine does. How long the chip waits for this side is not in it.

import { once } from 'node:events';
import { connect } from 'node:net';
import { VERSIONS, msgpack } from './clients.mjs';

const [WSLINK, BARE] = process.env.WSLINK_PORTS.split(',').map(Number);
const SIZE = 48 << 10;
const CALLS = 100;
const BULKS = 4;
const SAMPLES = 8;
/** Nanoseconds: of a cycle of the chip's clock, and of an instruction under `-icount shift=5`. */
const CYCLE = 20;
const INSTRUCTION = 32;

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
      line.data = data;
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

  /** Sends that so many times, one after the other, and waits for `length` bytes each time. */
  async send(bytes, length, times) {
    for (let i = 0; i < times; i += 1) {
      this.come = 0;
      this.wanted = length;
      const answer = new Promise((resolve) => (this.enough = resolve));
      this.socket.write(bytes);
      await answer;
    }
  }
}

const bare = await Line.open(BARE);

/** Cycles in which the chip has been busy, modulo 2³². */
async function busy() {
  await bare.send(frame(2, Buffer.from('C')), 7, 1);
  return bare.data.readUInt32LE(2);
}

/** Instructions that one of these takes. */
async function cost({ line, bytes, length }, times) {
  const before = await busy();
  const asked = await busy();
  await line.send(bytes, length, times);
  // Asking is not to be in it.
  const cycles = ((await busy()) - asked - (asked - before)) >>> 0;
  return (cycles * CYCLE) / INSTRUCTION / times;
}

/**
 * Instructions of both, in turn. Copies can take more than twice as many where the bytes and their
 * place in the ring are not aligned alike. What goes between the samples shifts what is there
 * already; an empty ring begins at its front, where the bulk of the bare one is always aligned.
 */
async function compare(one, other, times) {
  const sums = [0, 0];
  for (let i = 0; i < SAMPLES; i += 1) {
    for (const [at, side] of [one, other].entries()) {
      const shift = Buffer.alloc(i % 4, 'x');
      await side.line.send(frame(9, shift), 2 + shift.length, 1);
      sums[at] += await cost(side, times);
    }
  }
  return sums.map((sum) => sum / SAMPLES);
}

const missed = [];
function row(what, ours, theirs, bytes, least) {
  const rate = (instructions) => (bytes * 1e9) / INSTRUCTION / instructions;
  const unit = bytes > 1 ? 'bytes' : 'calls';
  const ratio = theirs / ours;
  say(
    `${what}: ${ours.toFixed(0)} instructions, ${theirs.toFixed(0)} bare; ${rate(ours).toFixed(0)} ${unit} a second ` +
      `of work, ${rate(theirs).toFixed(0)} bare: ${ratio.toFixed(2)} of at least ${least}`,
  );
  if (ratio < least) missed.push(what);
}

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
  const calls = await compare(small, echoed, CALLS);
  row(`${version}.x, ${call.length} bytes there and ${small.length} back`, ...calls, 1, 0.6);

  const load = request('speed.bulk', []);
  const bulk = { line, bytes: load, length: await line.length(load, SIZE) };
  const asked = frame(2, Buffer.from('B'.repeat(60)));
  const plain = { line: bare, bytes: asked, length: await bare.length(asked, SIZE) };
  const bulks = await compare(bulk, plain, BULKS);
  row(`${version}.x, 48 KiB from flash`, ...bulks, SIZE, 0.9);
  line.socket.destroy();
  await sleep(500);
}
bare.socket.destroy();
if (missed.length > 0) say(`missed: ${missed.join('; ')}`);
