"""A process of Kafka Connect: started with its properties, asked over REST, killed or stopped.

Called by connect.py and mirror.py. Every process is in this program's group, which `cargo xtask test`
kills as a whole, so that none is left behind.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from checks import expect, wait_for

START_SECONDS = 90
STOP_SECONDS = 40
REST_SECONDS = 60


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Refused(Exception):
    """The worker answered with a status that is no success."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status


class Process:
    """One JVM; `start` may be called again after `kill` or `stop`."""

    def __init__(self, options, main, properties, name):
        self.options = options
        self.main = main
        os.makedirs(options.folder, exist_ok=True)
        self.file = os.path.join(options.folder, f"{name}.properties")
        with open(self.file, "w", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in properties.items())
        self.log = os.path.join(options.folder, f"{name}.log")
        self.process = None

    def start(self):
        logging = os.path.join(os.path.dirname(os.path.abspath(__file__)), "log4j2.xml")
        out = open(self.log + ".out", "ab")
        self.process = subprocess.Popen(
            ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
             f"-Dcorelane.log={self.log}", f"-Dlog4j2.configurationFile={logging}",
             "-cp", os.path.join(self.options.libs, "*"), self.main, self.file],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        out.close()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still ran {STOP_SECONDS} s after SIGTERM") from None


class Worker(Process):
    """A distributed worker with its REST interface."""

    def __init__(self, options, properties, name):
        self.port = free_port()
        address = f"http://127.0.0.1:{self.port}"
        super().__init__(options, "org.apache.kafka.connect.cli.ConnectDistributed",
                         {**properties, "listeners": address}, name)
        self.address = address

    def wait_ready(self):
        def answers():
            expect(self.alive(), f"the worker died, see {self.log}.out")
            try:
                # What this lists is there only when the worker has read its topics.
                return self.ask("GET", "/connectors") is not None
            except (OSError, Refused):
                return False
        wait_for(answers, START_SECONDS, "the worker's REST interface")

    def ask(self, method, path, body=None):
        """One request; raises Refused, or OSError when nobody listens."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=REST_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refused:
            raise Refused(refused.code, refused.read().decode()) from None
        return json.loads(text) if text else {}

    def rest(self, method, path, body=None):
        """The same, again while the worker is between two assignments (409) or is away (5xx)."""
        deadline = time.monotonic() + REST_SECONDS
        while True:
            try:
                return self.ask(method, path, body)
            except Refused as refused:
                if refused.status not in (409, 500, 503) or time.monotonic() > deadline:
                    raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def wait_state(self, connector, state, seconds=60):
        """Waits until the connector and each of its tasks, at least one, are in a state."""
        def there():
            try:
                status = self.ask("GET", f"/connectors/{connector}/status")
            except (OSError, Refused):
                return False
            states = {status["connector"]["state"], *(task["state"] for task in status["tasks"])}
            return states == {state} and (status["tasks"] or state == "STOPPED")
        wait_for(there, seconds, f"{connector} {state}")
