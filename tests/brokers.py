"""An MQTT broker for tests: the MQTT mode of the NATS server, from its wheel."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy.cli.local import free_port

_UP_WITHIN_S = 10.0
_SETTINGS = """\
server_name: "{name}"
host: "127.0.0.1"
port: {port}
jetstream: {{ store_dir: "{folder}" }}
mqtt: {{ host: "127.0.0.1", port: {mqtt} }}
"""


@contextmanager
def mqtt_broker(folder: Path) -> Iterator[str]:
    """Yield the URL of a broker that keeps what it keeps in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mqtt = free_port()
    settings = folder / "nats.conf"
    settings.write_text(_SETTINGS.format(name="broker", port=free_port(), folder=folder / "kept", mqtt=mqtt), "utf-8")
    program = Path(sys.prefix) / "bin" / "nats-server"
    log = folder / "nats.log"
    server = subprocess.Popen([program, "-c", settings, "-l", log], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _UP_WITHIN_S
        while not (log.exists() and "Server is ready" in log.read_text("utf-8")):
            assert server.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, "the broker does not start"
            time.sleep(0.02)
        yield f"mqtt://127.0.0.1:{mqtt}"
    finally:
        server.terminate()
        server.wait(_UP_WITHIN_S)
