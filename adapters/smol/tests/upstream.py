"""A service for upstream's Python server, 1.x or 2.x, that the client is tried against."""

import asyncio
import hashlib

from wslink import register, server
from wslink.websocket import LinkProtocol, ServerProtocol


def fill(length):
    return bytes(i * 31 & 0xFF for i in range(251)) * (length // 251) + bytes(length % 251)


class Judge(LinkProtocol):
    @register("judge.echo")
    def echo(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @register("judge.digest")
    def digest(self, data):
        return [len(data), hashlib.sha256(data).hexdigest()]

    @register("judge.blob")
    def blob(self, length):
        return {"data": self.addAttachment(fill(length))}

    @register("judge.fail")
    def fail(self, text):
        raise ValueError(text)

    @register("judge.sleep")
    async def sleep(self, seconds):
        await asyncio.sleep(seconds)
        return seconds

    @register("judge.publish")
    async def many(self, topic, count, length):
        for n in range(count):
            self.publish(topic, {"n": n, "data": self.addAttachment(fill(length))})
            await asyncio.sleep(0)
        return count


class JudgeServer(ServerProtocol):
    auth_key = "wslink-secret"

    def initialize(self):
        self.registerLinkProtocol(Judge())
        self.updateSecret(self.auth_key)


if __name__ == "__main__":
    parser = server.argparse.ArgumentParser()
    server.add_arguments(parser)
    options = parser.parse_args()
    JudgeServer.auth_key = options.authKey
    server.start_webserver(options=options, protocol=JudgeServer)
