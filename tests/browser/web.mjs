// A web server of the tests' own: files by path, and the WebSocket of another server beside them.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { extname } from 'node:path';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** Serves `files` (URL path to file or text) below `prefix`; `<prefix>ws` leads to `port`. */
export async function serve(files, { port, prefix = '/' } = {}) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const name = pathname.startsWith(prefix) && (pathname.slice(prefix.length) || 'index.html');
    const file = name && files[name];
    if (!file) return response.writeHead(404).end();
    const type = TYPES[extname(name)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': `${type}; charset=utf-8` });
    return response.end(file instanceof URL ? readFileSync(file) : file);
  });
  const sockets = new Set();
  server.on('upgrade', (request, socket, head) => {
    if (request.url !== `${prefix}ws`) return socket.destroy();
    const onward = connect(port, '127.0.0.1', () => {
      const { rawHeaders: raw } = request;
      const lines = ['GET /ws HTTP/1.1'];
      for (let i = 0; i < raw.length; i += 2) lines.push(`${raw[i]}: ${raw[i + 1]}`);
      onward.write(`${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    return undefined;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}${prefix}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const root = new URL('../../', import.meta.url);
const page = (name) => new URL(`examples/instrument/page/${name}`, root);

/** The files of the instrument's page. */
export const PAGE = {
  'index.html': page('index.html'),
  'style.css': page('style.css'),
  'app.js': page('app.js'),
  'wslink.js': new URL('adapters/browser/wslink.js', root),
};
