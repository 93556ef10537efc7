// `wslink proxy` between the stock clients and upstream's Python servers, and in place of the servers.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { upstream } from '../browser/servers.mjs';
import { NAMES, Raw, VERSIONS, bytesOf, connect, takeComplaints, within } from './clients.mjs';
import { PYTHON, Proxy, killProxies } from './command.mjs';

const SECRET = 'a secret that nobody shall read';
const FIVE_MB = 5_000_000;

let folder;
let server;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'wslink-proxy-'));
});

after(async () => {
  await killProxies();
  await server?.kill();
  rmSync(folder, { recursive: true });
});

function digest(bytes) {
  return { length: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** All that a client is told in a conversation with something of everything. */
async function conversation(version, url, secret) {
  const client = await connect(version, url, secret);
  const publications = await client.subscribe('judge.topic');
  const told = {};
  const long = { text: 'é"\\\n'.repeat(200), list: new Array(300).fill(7) };
  told.echo = await client.call('scope.echo', [1, 2.5, null, [true, ''], long], { k: {} });
  told.failure = await client.call('judge.fail', ['on purpose']).catch(({ code, message, data }) => ({
    code,
    message,
    exception: data.exception,
  }));
  told.unknown = await client.call('no.such.method').catch((error) => error);
  const bytes = new Uint8Array(FIVE_MB).map((_, i) => (i * 7) ^ (i >> 8));
  told.uploaded = await client.call('judge.digest', [client.attach(bytes)]);
  assert.equal(told.uploaded.digest, digest(bytes).sha256);
  told.downloaded = digest(await bytesOf(await client.call('judge.blob', [FIVE_MB])));
  assert.equal(told.downloaded.length, FIVE_MB);
  told.published = await client.call('judge.publish', ['judge.topic', 3, 1000]);
  told.publications = [];
  for (let n = 0; n < 3; n += 1) {
    const { n: number, data } = await publications.next();
    told.publications.push([number, digest(await bytesOf(data))]);
  }
  await client.close();
  takeComplaints();
  return told;
}

for (const version of VERSIONS) {
  describe(NAMES[version], () => {
    let transcript;
    let direct;

    before(async () => {
      transcript = join(folder, `transcript-${version}.txt`);
      // Upstream's 1.x takes no attachment above that.
      const env = { WSLINK_MAX_MSG_SIZE: String(8 << 20) };
      server = await upstream({ version: PYTHON[version], secret: SECRET, env });
      direct = await conversation(version, server.url, SECRET);
      const proxy = await Proxy.start(server.url, '--transcript', transcript);
      assert.deepEqual(await conversation(version, proxy.url, SECRET), direct);
      assert.equal(await proxy.stop(), 0, proxy.said);
      await server.kill();
      assert.match(proxy.shown, / A > .*"method": "wslink.hello", "args": \[\{"secret": "\(hidden\)"\}\]/);
      assert.match(proxy.shown, / bytes more, see --full$/m);
    });

    test('the transcript tells everything but the secret', () => {
      const text = readFileSync(transcript, 'utf8');
      assert.ok(!text.includes(SECRET));
      assert.match(text, /A \* GET \/ws: 101 Switching Protocols, permessage-deflate$/m);
      assert.match(text, /A > .*"method": "judge.fail", "args": \["on purpose"\]/);
      assert.match(text, /A < .*"error": \{"code": -32001, "message": "Exception raised"/);
      assert.match(text, /A < .*"id": "publish:judge.topic:0"/);
      assert.match(text, /A > .*bin\(5000000, /);
      assert.doesNotMatch(text, /malformed|not decoded|not UTF-8/);
    });

    test('in place of the server the transcript tells the same', async () => {
      const proxy = await Proxy.start('--replay', transcript);
      assert.deepEqual(await conversation(version, proxy.url, 'any'), direct);
      assert.deepEqual(await conversation(version, proxy.url, 'any'), direct, 'for another client');
      assert.equal(await proxy.stop(), 0, proxy.said);
      assert.doesNotMatch(proxy.shown, /not in the transcript/);
    });

    test('what was not recorded is refused', async () => {
      const proxy = await Proxy.start('--replay', transcript);
      const client = await connect(version, proxy.url);
      const error = await client.call('scope.echo', ['never asked']).catch((error) => error);
      assert.deepEqual(error, {
        code: -32601,
        message: 'Not in the transcript',
        data: 'scope.echo',
      });
      await client.close();
      takeComplaints();
      await proxy.stop();
      assert.match(proxy.shown, /A \* not in the transcript, or not so often: "scope.echo"/);
    });
  });
}

test('a client of the other dialect is told so', async () => {
  const proxy = await Proxy.start('--replay', join(folder, 'transcript-1.txt'));
  const client = await Raw.connect(2, proxy.url);
  client.send({ id: 'system:c0:0', method: 'wslink.hello', args: [{ secret: 'any' }] });
  const reason = 'the client speaks 2.x, the transcript 1.x';
  assert.deepEqual(await within(client.closed, 'a Close'), { code: 1002, reason });
  await proxy.stop();
  assert.match(proxy.shown, /\* the client speaks 2.x, the transcript 1.x/);
});
