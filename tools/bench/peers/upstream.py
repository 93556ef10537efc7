"""Upstream's Python server, either dialect, with the methods of the benchmark."""

from wslink import register, server
from wslink.websocket import LinkProtocol, ServerProtocol


class Bench(LinkProtocol):
    @register("bench.echo")
    def echo(self, text):
        return text

    @register("bench.down")
    def down(self, length):
        # 1.x sends bytes only as an attachment that is registered; 2.x sends them as they are.
        if hasattr(self, "addAttachment"):
            return self.addAttachment(bytes(length))
        return bytes(length)

    @register("bench.up")
    def up(self, data):
        return len(data)

    @register("bench.publish")
    def send(self, length):
        self.publish("bench.news", "x" * length)
        return 0


class BenchServer(ServerProtocol):
    auth_key = "wslink-secret"

    def initialize(self):
        self.registerLinkProtocol(Bench())
        self.updateSecret(self.auth_key)


if __name__ == "__main__":
    parser = server.argparse.ArgumentParser()
    server.add_arguments(parser)
    options = parser.parse_args()
    BenchServer.auth_key = options.authKey
    server.start_webserver(options=options, protocol=BenchServer)
