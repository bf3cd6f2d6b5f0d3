"""One broker as a case sees it: requests out, answers in, and a transcript of both.

A case is a function that talks to a `Broker`; it runs once against Kafka and once against Corelane,
and may use what the broker told it (ids, epochs) in its next request. What `call` and `receive`
bring is written down to be compared; what `quiet` brings is not.
"""

import itertools
import socket
import struct
import time

PATIENCE_SECONDS = 30
READY_SECONDS = 20

CLOSED = {"_outcome": "the connection is closed"}
SILENT = {"_outcome": "no answer"}

# What `settle` alters: of a group that nobody is in.
GROUP, MARK = 32, "consumer.session.timeout.ms"

# Listings of the whole broker: the list, and the name in it that says whose it is.
LISTINGS = {"ListGroups": ("Groups", "GroupId"),
            "ListTransactions": ("TransactionStates", "TransactionalId")}


class Step:
    """One compared request: what it was, and what came back."""

    def __init__(self, api, version, note, value):
        self.api, self.version, self.note, self.value = api, version, note, value
        self.outcome, self.took = SILENT, 0.0


class Connection:
    """A socket that numbers its requests."""

    def __init__(self, broker):
        self.broker = broker
        self.socket = socket.create_connection(broker.address, timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlations = itertools.count(1)
        self.closed = False

    def write(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def frame(self):
        """The next whole frame, or None when the connection was closed; `TimeoutError` if late."""
        head = self._exactly(4)
        return None if head is None else self._exactly(struct.unpack(">i", head)[0])

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                more = self.socket.recv(min(count - len(data), 1 << 20))
            except ConnectionError:
                more = b""
            if not more:
                self.closed = True
                return None
            data += more
        return bytes(data)

    def close(self):
        self.closed = True
        self.socket.close()


class Pending:
    """A request whose answer is still to be read."""

    def __init__(self, connection, step, correlation):
        self.connection, self.step, self.correlation = connection, step, correlation
        self.sent = time.monotonic()


class Broker:
    """A broker under comparison, with the transcript of the case that runs."""

    def __init__(self, kind, bootstrap, schemas, base_ms):
        host, port = bootstrap.rsplit(":", 1)
        self.kind, self.address, self.schemas = kind, (host, int(port)), schemas
        # The moment all records carry: the same for both brokers, so that answers are comparable.
        self.base_ms = base_ms
        self.case, self.steps, self.connections = "", [], []
        self.ids, self.members = {}, []
        self.marks = 0

    # -- the life of a case

    def begin(self, case):
        self.case, self.steps, self.ids, self.members = case, [], {}, []

    def end(self):
        for connection in self.connections:
            connection.close()
        self.connections = []
        return self.steps

    def name(self, suffix=""):
        """A topic or group name that belongs to this case alone."""
        return f"{self.case}-{suffix}" if suffix else self.case

    # -- requests

    def connect(self):
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    def _own(self):
        if not self.connections or self.connections[0].closed:
            self.connections.insert(0, Connection(self))
        return self.connections[0]

    def send(self, api, version, value=None, *, note="", on=None, body=None, client="differential",
             record=True, header=None):
        """Writes a request; `body` replaces its bytes, `header` its header."""
        connection = on or self._own()
        message = self.schemas.requests[api]
        correlation = next(connection.correlations)
        if body is None:
            body = message.encode(version, value or {})
        if header is None:
            header = self.header(message, version, correlation, client)
        step = Step(api, version, note, value)
        if record:
            self.steps.append(step)
        connection.write(struct.pack(">i", len(header) + len(body)) + header + body)
        return Pending(connection, step, correlation)

    @staticmethod
    def header(message, version, correlation, client="differential"):
        name = struct.pack(">h", -1) if client is None else struct.pack(">h", len(client))
        name += (client or "").encode()
        tags = b"\0" if version in message.flexible else b""
        return struct.pack(">hhi", message.key, version, correlation) + name + tags

    def receive(self, pending, patience=PATIENCE_SECONDS):
        """Reads the answer; returns it decoded (also for a closed connection and for silence)."""
        step = pending.step
        step.outcome = self._own_part(step.api, self._outcome(pending, patience))
        step.took = time.monotonic() - pending.sent
        member = step.outcome.get("MemberId")
        if member and member not in self.members:
            self.members.append(member)
        return step.outcome

    def _outcome(self, pending, patience):
        connection = pending.connection
        connection.socket.settimeout(patience)
        try:
            frame = connection.frame()
        except TimeoutError:
            connection.close()
            return SILENT
        if frame is None:
            return CLOSED
        return self.decode(pending.step.api, pending.step.version, pending.correlation, frame)

    def _own_part(self, api, answer):
        """A listing without what other cases left: how far that has come is a matter of time."""
        of, name = LISTINGS.get(api, (None, None))
        if answer.get(of) is not None:
            answer[of] = [one for one in answer[of]
                          if f"{one[name]}-".startswith(f"{self.case}-")]
        return answer

    def decode(self, api, version, correlation, frame):
        message = self.schemas.responses[api]
        (got,) = struct.unpack_from(">i", frame)
        if got != correlation:
            return {"_outcome": f"correlation id {got} instead of {correlation}"}
        at = 4
        if api == "ApiVersions":
            # An unknown version is answered in version 0, with this error (KIP-511).
            if frame[4:6] == struct.pack(">h", 35):
                version = 0
        elif version in message.flexible:
            if frame[4] != 0:
                return {"_outcome": f"the header has tags: {frame[4:20].hex()}"}
            at = 5
        try:
            return message.decode(version, frame[at:])
        except Exception as error:
            return {"_outcome": f"undecodable: {error}: {frame[:200].hex()}"}

    def call(self, api, version, value=None, patience=PATIENCE_SECONDS, **options):
        """A request and its answer, compared."""
        return self.receive(self.send(api, version, value, **options), patience)

    def quiet(self, api, version, value=None, **options):
        """A request and its answer, not compared."""
        return self.receive(self.send(api, version, value, record=False, **options))

    def note(self, api, version, note, value):
        """Has something compared that was taken out of a quiet answer."""
        step = Step(api, version, note, None)
        step.outcome = value
        self.steps.append(step)

    def bare(self, api, version, note, on):
        """Compares what comes back on a connection that was written to by hand."""
        step = Step(api, version, note, None)
        self.steps.append(step)
        self.receive(Pending(on, step, 0), 1.5)

    # -- what many cases need

    def until(self, what, question, seconds=READY_SECONDS):
        """Asks until the answer is true: for what a broker does a little after its answer."""
        deadline = time.monotonic() + seconds
        while True:
            found = question()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.kind}: {what} not within {seconds} s")
            time.sleep(0.005)

    def settle(self):
        """Waits until what was decided so far acts everywhere in the broker.

        Metadata is applied in its order, in parts: what is asked for shows when a part begins to
        be applied, so the parts before it are done. Two marks, one after the other, are two parts.
        """
        for _ in range(2):
            self.marks += 1
            value = str(45_000 + self.marks % 15_000)
            of = {"ResourceType": GROUP, "ResourceName": "mark"}
            self.quiet("IncrementalAlterConfigs", 1, {"ValidateOnly": False, "Resources": [{
                **of, "Configs": [{"Name": MARK, "ConfigOperation": 0, "Value": value}]}]})
            def there(of=of, value=value):
                answer = self.quiet("DescribeConfigs", 4, {"Resources": [{
                    **of, "ConfigurationKeys": [MARK]}]})
                return answer["Results"][0]["Configs"][0]["Value"] == value
            self.until("a mark in the metadata", there)

    def topic(self, suffix="", partitions=1, configs=None):
        """Creates a topic of this case, waits until it has leaders, returns its name."""
        name = self.name(suffix)
        configs = [{"Name": key, "Value": value} for key, value in (configs or {}).items()]
        wanted = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1,
                  "Configs": configs}
        answer = self.quiet("CreateTopics", 7, {"Topics": [wanted], "timeoutMs": 10_000})
        code = answer["Topics"][0]["ErrorCode"] if "Topics" in answer else answer
        if code not in (0, 36):
            raise AssertionError(f"{self.kind}: topic {name} was not created: {answer}")
        self.await_topic(name, partitions)
        return name

    def await_topic(self, name, partitions):
        def has_leaders():
            (topic,) = self.quiet("Metadata", 12, {
                "Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"]
            ready = topic["ErrorCode"] == 0 and len(topic["Partitions"]) == partitions
            if ready and all(one["LeaderId"] >= 0 for one in topic["Partitions"]):
                self.ids[name] = topic["TopicId"]
                return True
            return False
        self.until(f"leaders of {name}", has_leaders)
        # Metadata and the log's owner learn of a topic independently.
        def has_logs():
            (topic,) = self.quiet("ListOffsets", 7, {"ReplicaId": -1, "Topics": [
                {"Name": name, "Partitions": [{"PartitionIndex": n, "Timestamp": -1}
                                              for n in range(partitions)]}]})["Topics"]
            return all(one["ErrorCode"] == 0 for one in topic["Partitions"])
        self.until(f"logs of {name}", has_logs)

    def labels(self):
        """What a made-up id stands for: a topic's name, a member's place among those met."""
        topics = {topic_id: name for name, topic_id in self.ids.items()}
        return {**topics, **{member: f"{place:09}" for place, member in enumerate(self.members)}}

    def topic_id(self, name):
        return self.ids[name]

    def produce(self, name, records, partition=0):
        """Appends, quietly; returns the base offset."""
        answer = self.quiet("Produce", 9, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": name, "PartitionData": [{"Index": partition, "Records": records}]}]})
        (one,) = answer["Responses"][0]["PartitionResponses"]
        assert one["ErrorCode"] == 0, f"{self.kind}: produce to {name}: {one}"
        return one["BaseOffset"]
