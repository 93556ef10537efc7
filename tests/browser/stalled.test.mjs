// A tab that is hidden and stopped while another one looks on.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import WebSocket from 'ws';
import { connect } from '../../adapters/browser/wslink.js';
import { browser } from './chromium.mjs';
import { instrument, until, within } from './servers.mjs';

globalThis.WebSocket ??= WebSocket;

const TEXT = 60_000;
const WARM = 16 << 20;
const ALL = 150 << 20;

test('a hidden and stalled tab delays nobody, and costs no memory', { timeout: 180_000 }, async (t) => {
  if (process.platform !== 'linux') return t.skip('asks /proc');
  const server = await instrument();
  const browsers = await Promise.all([browser(), browser()]);
  const stopped = [];
  t.after(async () => {
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    await Promise.all(browsers.map((one) => one.close()));
    await server.kill();
  });
  const [live, stalled] = await Promise.all(browsers.map(({ context }) => looker(context, server.port)));
  const [, other] = browsers;
  await (await other.context.newPage()).bringToFront();
  const source = await connect({ url: server.url });
  t.after(() => source.close());

  // How it is while both look on.
  await live.evaluate(() => looked.begin());
  await publish(source, WARM);
  await until('the last text', async () => (await live.evaluate(() => looked.last)) === 'end');
  await until('the last text', async () => (await stalled.evaluate(() => looked.last)) === 'end');
  const usual = await live.evaluate(() => looked.end());

  stopped.push(...renderers(other.folder));
  assert.ok(stopped.length > 0, 'no renderer was found');
  for (const pid of stopped) process.kill(pid, 'SIGSTOP');
  // What is on its way to the stopped tab fills its sockets.
  await publish(source, WARM);
  await live.evaluate(() => looked.begin());

  const before = memory(server.pid);
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, memory(server.pid))), 20);
  const since = performance.now();
  await publish(source, ALL);
  const seconds = (performance.now() - since) / 1000;
  clearInterval(watch);
  await until('the last text', async () => (await live.evaluate(() => looked.last)) === 'end');
  const { count, delay, calls, answer } = await live.evaluate(() => looked.end());
  const grown = (most - before) / 1024;
  t.diagnostic(
    `${ALL >> 20} MiB in ${seconds.toFixed(1)} s; the live tab saw ${count} texts, at most ${delay} ms late ` +
      `(${usual.delay} ms before), and ${calls} answers within ${answer.toFixed(0)} ms ` +
      `(${usual.answer.toFixed(0)} ms before); the server grew by ${grown.toFixed(0)} KiB`,
  );
  assert.ok(grown < 1024, `the server grew by ${grown} KiB`);
  assert.ok(count > 100, `only ${count} texts came`);
  // A busy machine makes both late.
  assert.ok(delay < 300 + 2 * usual.delay, `a text was ${delay} ms late`);
  assert.ok(calls > 10 && answer < 300 + 2 * usual.answer, `of ${calls} calls one took ${answer} ms`);

  for (const pid of stopped.splice(0)) process.kill(pid, 'SIGCONT');
  const last = () => stalled.evaluate(() => ({ last: looked.last, state: looked.client.state }));
  await publish(source, TEXT);
  await until('the stalled tab', async () => (await last()).last === 'end' && (await last()).state === 'open');
});

/** A page that listens to everything, and says how late it comes. */
async function looker(context, port) {
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.evaluate(async () => {
    const { connect } = await import('./wslink.js');
    const client = await connect();
    const looked = { client, last: '' };
    let timer;
    client.subscribe('*', (value, { topic }) => {
      if (topic !== 'scope.text') return;
      const [sent, what] = value.split(' ', 2);
      looked.last = what.trim();
      looked.count += 1;
      looked.delay = Math.max(looked.delay, Date.now() - Number(sent));
    });
    looked.begin = () => {
      Object.assign(looked, { count: 0, delay: 0, calls: 0, answer: 0, last: '' });
      const call = async () => {
        const since = performance.now();
        await client.call('scope.echo', [1]);
        looked.answer = Math.max(looked.answer, performance.now() - since);
        looked.calls += 1;
      };
      timer = setInterval(call, 50);
    };
    looked.end = () => {
      clearInterval(timer);
      const { count, delay, calls, answer } = looked;
      return { count, delay, calls, answer };
    };
    window.looked = looked;
  });
  return page;
}

/** Publishes so many bytes; the last text ends in "end". */
async function publish(client, bytes) {
  const fill = 'x'.repeat(TEXT);
  for (let left = bytes; left > 0; left -= TEXT) {
    const text = `${Date.now()} ${left > TEXT ? fill : 'end'}`;
    await within(client.call('scope.publish', [text]), 'the answer to a publication');
    // 12 MB/s: much for an instrument, and not all that a machine can do.
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
}

/** Resident memory in bytes. */
function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
}

/** The processes that render the tabs of the browser with that profile. */
function renderers(folder) {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = ` ${readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')}`;
        const [, parent] = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'));
        return [{ pid: Number(name), parent: Number(parent), command }];
      } catch {
        return [];
      }
    });
  const ours = new Set(
    processes.filter(({ command }) => command.includes(`--user-data-dir=${folder} `)).map(({ pid }) => pid),
  );
  for (let before = -1; before !== ours.size; ) {
    before = ours.size;
    for (const { pid, parent } of processes) if (ours.has(parent)) ours.add(pid);
  }
  return processes
    .filter(({ pid, command }) => ours.has(pid) && command.includes(' --type=renderer'))
    .map(({ pid }) => pid);
}
