"""The scope of examples/scope, on upstream's Python server, 1.x or 2.x: what the list of tests calls
is the same everywhere. Samples are not those of a generator, but their own numbers."""

import array
import asyncio
import hashlib

from wslink import register, server
from wslink.websocket import LinkProtocol, ServerProtocol

SETTINGS = {
    "timebase": 0.0005,
    "amplitude": 1.0,
    "frequency": 1000.0,
    "offset": 0.0,
    "waveform": "sine",
    "noise": 0.02,
}

RANGES = {
    "timebase": (0.00001, 1.0),
    "amplitude": (0.01, 10.0),
    "frequency": (0.1, 1000000.0),
    "offset": (-10.0, 10.0),
    "noise": (0.0, 10.0),
}


class Failed(Exception):
    """Is told as it is, without the name of its class."""

    def __repr__(self):
        return str(self)


class Scope(LinkProtocol):
    def __init__(self):
        super().__init__()
        self.settings = dict(SETTINGS)

    def samples(self, count):
        return self.addAttachment(array.array("f", range(count)).tobytes())

    @property
    def rate(self):
        return 50 / self.settings["timebase"]

    @register("scope.echo")
    def echo(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @register("scope.fail")
    def fail(self, text):
        raise Failed(text)

    @register("scope.capture")
    def capture(self, samples, trigger=None):
        if trigger is not None:
            raise Failed("The signal does not rise through the trigger's level")
        return {"rate": self.rate, "trigger": None, "samples": self.samples(samples)}

    @register("scope.settings.get")
    def get(self):
        return self.settings

    @register("scope.settings.set")
    def set(self, **change):
        for name, value in change.items():
            if name in RANGES:
                least, most = RANGES[name]
                if not least <= value <= most:
                    raise Failed(name)
                change[name] = float(value)
        self.settings = {**self.settings, **change}
        self.publish("scope.settings", self.settings)
        return self.settings

    @register("scope.firmware_update")
    def firmware_update(self, image):
        return {"length": len(image), "digest": hashlib.sha256(image).hexdigest()}

    @register("scope.calibrate")
    async def calibrate(self, seconds=1.0):
        await asyncio.sleep(seconds)
        return {"offset": 0.0, "gain": 1.0}

    async def run(self):
        n = 0
        while True:
            await asyncio.sleep(0.1)
            trace = {"n": n, "rate": self.rate, "samples": self.samples(500)}
            self.publish("scope.trace", trace)
            n += 1


class ScopeServer(ServerProtocol):
    auth_key = "wslink-secret"

    def initialize(self):
        ScopeServer.scope = Scope()
        self.registerLinkProtocol(ScopeServer.scope)
        self.updateSecret(self.auth_key)


async def main(options):
    serving = server.start_webserver(
        options=options, protocol=ScopeServer, exec_mode="coroutine"
    )
    sampling = asyncio.ensure_future(ScopeServer.scope.run())
    await serving
    sampling.cancel()


if __name__ == "__main__":
    parser = server.argparse.ArgumentParser()
    server.add_arguments(parser)
    options = parser.parse_args()
    ScopeServer.auth_key = options.authKey
    asyncio.run(main(options))
