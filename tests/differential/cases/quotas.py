"""Client quotas: altered and described, and what a client over one is told."""

import batches
from cases import case

PRODUCE, FETCH, REQUEST = "producer_byte_rate", "consumer_byte_rate", "request_percentage"
MUTATION, CONNECTIONS = "controller_mutation_rate", "connection_creation_rate"


def entity(*parts):
    return [{"EntityType": kind, "EntityName": name} for kind, name in parts]


def entry(of, *ops):
    return {"Entity": entity(*of), "Ops": [
        {"Key": key, "Value": value or 0.0, "Remove": value is None} for key, value in ops]}


def altered(b, v, note, *entries, only=False):
    b.call("AlterClientQuotas", v, {"Entries": list(entries), "ValidateOnly": only}, note=note)
    if not only:
        b.settle()


def described(b, v, note, *components, strict=False):
    b.call("DescribeClientQuotas", v, {"Components": [
        {"EntityType": kind, "MatchType": how, "Match": what}
        for kind, how, what in components], "Strict": strict}, note=note)


@case("AlterClientQuotas", versions="all")
def alter(b, v):
    u, c = b.name("u"), b.name("c")
    user, both = [("user", u)], [("client-id", c), ("user", u)]
    altered(b, v, "a user's", entry(user, (PRODUCE, 1024.0), (FETCH, 2048.0)))
    altered(b, v, "of both", entry(both, (MUTATION, 1.5), (REQUEST, 50.5)))
    altered(b, v, "of both, the other way round", entry(both[::-1], (MUTATION, 2.5)))
    altered(b, v, "a client's", entry([("client-id", c)], (PRODUCE, 1e9)))
    altered(b, v, "an address's", entry([("ip", "192.0.2.7")], (CONNECTIONS, 5.0)))
    described(b, v, "the user", ("user", 0, u))
    described(b, v, "the client", ("client-id", 0, c))
    described(b, v, "both", ("user", 0, u), ("client-id", 0, c))
    described(b, v, "only the user", ("user", 0, u), strict=True)
    described(b, v, "the address", ("ip", 0, "192.0.2.7"))
    described(b, v, "another user", ("user", 0, b.name("none")))
    altered(b, v, "nothing")
    altered(b, v, "a key twice", entry(user, (PRODUCE, 1.0), (PRODUCE, 2.0)))
    altered(b, v, "no key", entry(user))
    altered(b, v, "an entity twice", entry([("user", u + "2")], (PRODUCE, 1.0)),
            entry([("user", u + "2")], (PRODUCE, 2.0)))
    described(b, v, "what was said twice", ("user", 0, u + "2"))
    altered(b, v, "one right, one wrong", entry([("user", u + "3")], (PRODUCE, 1.0)),
            entry([("user", u + "4")], ("nope", 1.0)))
    altered(b, v, "takes back", entry([("user", u + "2")], (PRODUCE, None)),
            entry([("user", u + "3")], (PRODUCE, None)))
    described(b, v, "what was taken back", ("user", 0, u + "2"))
    altered(b, v, "takes back what is not there", entry([("user", u + "2")], (PRODUCE, None)))
    altered(b, v, "takes back a key nobody knows", entry(user, ("nope", None)))
    altered(b, v, "only validated", entry([("user", u + "5")], (PRODUCE, 1.0)), only=True)
    described(b, v, "what was only validated", ("user", 0, u + "5"))
    for note, of, *ops in (
            ("no entity", [], (PRODUCE, 1.0)),
            ("an unknown type", [("foo", "x")], (PRODUCE, 1.0)),
            ("a type twice", [("user", u), ("user", u + "6")], (PRODUCE, 1.0)),
            ("an address and a user", [("ip", "127.0.0.1"), ("user", u)], (PRODUCE, 1.0)),
            ("no address", [("ip", "not an ip")], (CONNECTIONS, 1.0)),
            ("an address's bytes", [("ip", "127.0.0.1")], (PRODUCE, 1.0)),
            ("a user's connections", user, (CONNECTIONS, 1.0)),
            ("an unknown key", user, ("nope", 1.0)),
            ("a right and an unknown key", user, (PRODUCE, 1.0), ("nope", 1.0)),
            ("zero", user, (PRODUCE, 0.0)),
            ("negative", user, (PRODUCE, -1.0)),
            ("a part of a byte", user, (PRODUCE, 1.5)),
            ("nearly a whole byte", user, (PRODUCE, 1024.0000001)),
            ("too many bytes", user, (PRODUCE, 1e30)),
            ("no percent", user, (REQUEST, 0.0)),
            ("negative percent", user, (REQUEST, -0.5)),
            ("a part of a connection", [("ip", "127.0.0.1")], (CONNECTIONS, 1.5)),
            ("no connection", [("ip", "127.0.0.1")], (CONNECTIONS, 0.0)),
            ("too many connections", [("ip", "127.0.0.1")], (CONNECTIONS, 3e9)),
            ("IPv6", [("ip", "::1")], (CONNECTIONS, 1.0)),
            ("localhost", [("ip", "localhost")], (CONNECTIONS, 1.0)),
            ("the empty user", [("user", "")], (PRODUCE, 1.0)),
            ("the empty client", [("client-id", "")], (PRODUCE, 1.0)),
            ("the empty address", [("ip", "")], (CONNECTIONS, 1.0)),
            ("all users", [("user", None)], (PRODUCE, 1.0)),
            ("all clients of all users", [("user", None), ("client-id", None)], (PRODUCE, 1.0))):
        altered(b, v, note, entry(of, *ops), only=True)


@case("DescribeClientQuotas", versions="all")
def describe(b, v):
    u, c = b.name("u"), b.name("c")
    altered(b, v, "set", entry([("user", u)], (PRODUCE, 1e9)),
            entry([("user", u), ("client-id", c)], (PRODUCE, 1e9), (FETCH, 1e9)))
    for strict in (False, True):
        for note, *components in (
                ("exact", ("user", 0, u)),
                ("exact and any", ("user", 0, u), ("client-id", 2, None)),
                ("exact and default", ("user", 0, u), ("client-id", 1, None)),
                ("an address", ("ip", 2, None)),
                ("an unknown type", ("foo", 2, None)),
                ("an empty type", ("", 0, "x")),
                ("match type 3", ("user", 3, None)),
                ("match type -1", ("user", -1, "x")),
                ("exactly null", ("user", 0, None)),
                ("a named default", ("user", 1, "x")),
                ("a named any", ("user", 2, "x")),
                ("the empty user", ("user", 0, "")),
                ("a type twice", ("user", 0, u), ("user", 0, "v")),
                ("an address and a user", ("ip", 2, None), ("user", 2, None))):
            described(b, v, f"{note}, strict {strict}", *components, strict=strict)


def limited(b, name, key, value):
    """A client id of this case with a quota that is in force."""
    client = b.name(name)
    b.quiet("AlterClientQuotas", 1, {"Entries": [entry([("client-id", client)], (key, value))],
                                     "ValidateOnly": False})
    b.settle()
    return client


def throttled(b, api, v, note, answer):
    """Whether it is throttled at all, and whether for longer than a second: both brokers alike."""
    told = answer["ThrottleTimeMs"]
    b.note(api, v, note, {"throttled": told > 0, "for seconds": told > 1000})


@case("CreateTopics", versions=[5, 7])
def over_the_mutation_quota(b, v):
    client = limited(b, "slow", MUTATION, 0.5)
    def create(name, count, only=False):
        on = b.connect()
        answer = b.call("CreateTopics", v, {"Topics": [
            {"Name": b.name(name), "NumPartitions": count, "ReplicationFactor": 1}],
            "timeoutMs": 10_000, "validateOnly": only}, client=client, on=on, note=name)
        throttled(b, "CreateTopics", v, name, answer)
    create("validated", 20, only=True)
    create("refused", 1)
    create("refused as well", 1, only=True)


@case("Produce", versions=[9])
def over_the_produce_quota(b, v):
    name = b.topic()
    client = limited(b, "slow", PRODUCE, 1000.0)
    records = batches.batch([b"x" * 20_000], at=b.base_ms)
    def produce(note, on):
        answer = b.receive(b.send("Produce", v, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": name, "PartitionData": [{"Index": 0, "Records": records}]}]},
            client=client, on=on, note=note))
        throttled(b, "Produce", v, note, answer)
    produce("twice what ten seconds allow", b.connect())
    produce("on another connection", b.connect())


@case("Fetch", versions=[11, 13])
def over_the_fetch_quota(b, v):
    name = b.topic()
    b.produce(name, batches.batch([b"x" * 20_000], at=b.base_ms))
    client = limited(b, "slow", FETCH, 1000.0)
    of = {"TopicId": b.topic_id(name)} if v >= 13 else {"Topic": name}
    def fetch(note):
        answer = b.receive(b.send("Fetch", v, {
            "ReplicaId": -1, "MaxWaitMs": 100, "MinBytes": 1, "MaxBytes": 1 << 20,
            "IsolationLevel": 0, "SessionId": 0, "SessionEpoch": -1, "RackId": "", "Topics": [
                {**of, "Partitions": [{
                    "Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0,
                    "LogStartOffset": -1, "PartitionMaxBytes": 1 << 20}]}],
            "ForgottenTopicsData": []}, client=client, on=b.connect(), note=note))
        throttled(b, "Fetch", v, note, answer)
    fetch("more than ten seconds allow")
    fetch("on another connection")
