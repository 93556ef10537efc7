// Records what tools/cli/tests/recorded holds: the stock clients and upstream's Python servers, as
// `wslink proxy` saw them. `node record.mjs`, with the settings that README.md tells.

import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { upstream } from '../browser/servers.mjs';
import { VERSIONS, connect } from './clients.mjs';
import { PYTHON, Proxy } from './command.mjs';

for (const version of VERSIONS) {
  const recorded = new URL(`../../tools/cli/tests/recorded/v${version}.txt`, import.meta.url);
  const transcript = fileURLToPath(recorded);
  rmSync(`${transcript}.bin`, { recursive: true, force: true });
  // Small, so that there are chunks in 2.x.
  const env = { WSLINK_MAX_MSG_SIZE: '4096' };
  const server = await upstream({ version: PYTHON[version], env });
  const proxy = await Proxy.start(server.url, '--transcript', transcript);

  const refused = await connect(version, proxy.url, 'wrong').catch((error) => error);
  if (refused.code !== -32000) throw new Error(`not refused: ${JSON.stringify(refused)}`);
  const client = await connect(version, proxy.url);
  const publications = await client.subscribe('judge.topic');
  await client.call('scope.echo', [1, 2.5, null, 'caf\u00e9'], { list: [true, []] });
  await client.call('no.such.method').catch((error) => error);
  await client.call('judge.digest', [client.attach(new Uint8Array(1000).fill(7))]);
  await client.call('judge.blob', [10_000]);
  await client.call('judge.publish', ['judge.topic', 3, 100]);
  for (let n = 0; n < 3; n += 1) await publications.next();
  await client.close();
  await proxy.stop();
  await server.kill();
}
// The client that was refused keeps its socket.
process.exit(0);
