"""Telemetry of clients (KIP-714): what they are asked for, and what their pushes are answered.

Kafka serves it with a plug-in (`Receiver.java`), which takes whatever is OTLP.
"""

import gzip
import uuid

from cases import case

CLIENT_METRICS = 16
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
# MetricsData with one gauge `g` of one number.
OTLP = bytes.fromhex("0a14" "1212" "1210" "0a0167" "2a0b" "0a09" "21" "000000000000f03f")


def instance(b, of=""):
    """An id that both brokers get, and no other case uses."""
    return uuid.uuid5(uuid.NAMESPACE_OID, b.name(of))


def subscribe(b, of="", **configs):
    """A subscription for clients that are named as this case is; waits until it acts."""
    name = b.name(of)
    configs = {key.replace("_", "."): value for key, value in configs.items()}
    configs.setdefault("match", f"client_id={b.name()}.*")
    b.quiet("IncrementalAlterConfigs", 1, {"ValidateOnly": False, "Resources": [{
        "ResourceType": CLIENT_METRICS, "ResourceName": name, "Configs": [
            {"Name": key, "ConfigOperation": 1 if value is None else 0, "Value": value}
            for key, value in configs.items()]}]})
    return name


def unsubscribe(b, of=""):
    subscribe(b, of, metrics=None, interval_ms=None, match=None)


def wanted(b, of="probe", client=None):
    """What a fresh instance of this case's clients would be asked for."""
    answer = b.quiet("GetTelemetrySubscriptions", 0, {
        "ClientInstanceId": uuid.uuid4()}, client=client or b.name())
    return answer


def get(b, note, of="", client=None):
    return b.call("GetTelemetrySubscriptions", 0, {
        "ClientInstanceId": of if isinstance(of, uuid.UUID) else instance(b, of)},
        note=note, client=client or b.name())


def push(b, note, subscription, of="", metrics=b"", codec=NONE, last=False):
    return b.call("PushTelemetry", 0, {
        "ClientInstanceId": of if isinstance(of, uuid.UUID) else instance(b, of),
        "SubscriptionId": subscription, "Terminating": last, "CompressionType": codec,
        "Metrics": metrics}, note=note, client=b.name())


def java_hash(of):
    """What Java makes of an id, which is mixed into the ids of its subscriptions."""
    mixed = (of.int >> 64) ^ (of.int & (1 << 64) - 1)
    return (mixed >> 32 ^ mixed) & 0xffffffff


def of_another(b, subscription, one, other):
    """One instance's subscription id as another one would be told it."""
    number = subscription ^ java_hash(instance(b, one)) ^ java_hash(instance(b, other))
    number &= 0xffffffff
    return number - (1 << 32) if number >> 31 else number


@case("GetTelemetrySubscriptions")
def without_subscriptions(b):
    get(b, "no id", uuid.UUID(int=0))
    get(b, "a reserved id", uuid.UUID(int=1))
    get(b, "an id of its own", "a")
    get(b, "again", "a")
    get(b, "another", "b")


@case("GetTelemetrySubscriptions")
def several_subscriptions(b):
    def there():
        return wanted(b)["PushIntervalMs"] == 4000
    subscribe(b, "one", metrics="org.a", interval_ms="9000")
    subscribe(b, "two", metrics="org.a", interval_ms="4000")
    subscribe(b, "three", metrics="org.c", interval_ms="100",
              match=f"client_id={b.name()},client_software_name=nobody")
    subscribe(b, "four", metrics="org.d", interval_ms="100", match=f"client_id={b.name()[:-1]}")
    b.until("the subscriptions", there)
    get(b, "one metric twice", "a")
    get(b, "a client of another name", "b", client="nobody")
    get(b, "a client with an empty name", "c", client="")
    subscribe(b, "two", metrics="*")
    b.until("all metrics", lambda: wanted(b)["RequestedMetrics"] == ["*"])
    get(b, "after a change, at once", "a")
    get(b, "again", "a")
    for name in ("one", "two", "three", "four"):
        unsubscribe(b, name)
    b.until("none", lambda: wanted(b)["RequestedMetrics"] == [])
    get(b, "after the end", "a")


@case("GetTelemetrySubscriptions")
def matching(b):
    """What each attribute is compared with; the whole of it has to match."""
    on = b.connect()
    b.quiet("ApiVersions", 3, {"ClientSoftwareName": "soft.ware",
                               "ClientSoftwareVersion": "1.2"}, on=on)
    for number, pattern in enumerate((
            "client_software_name=soft.ware", "client_software_name=soft",
            "client_software_version=1[.]2", "client_software_version=2",
            "client_source_address=127[.]0[.]0[.]1", "client_source_address=127",
            r"client_source_port=\d+", "client_source_port=x",
            "client_instance_id=[A-Za-z0-9_-]{22}", "client_instance_id=x")):
        client = b.name(str(number))
        subscribe(b, str(number), metrics="org.x", interval_ms="1000",
                  match=f"{pattern},client_id={client}")
        subscribe(b, f"{number}-there", metrics="org.y", match=f"client_id={client}")
        b.until("the subscription", lambda: "org.y" in wanted(b, client=client)["RequestedMetrics"])
        answer = b.quiet("GetTelemetrySubscriptions", 0,
                         {"ClientInstanceId": instance(b, str(number))}, client=client, on=on)
        answer["RequestedMetrics"].sort()
        answer.pop("SubscriptionId")
        b.note("GetTelemetrySubscriptions", 0, pattern, answer)
        unsubscribe(b, str(number))
        unsubscribe(b, f"{number}-there")


@case("PushTelemetry")
def pushes(b):
    subscribe(b, metrics="*", interval_ms="3600000")
    b.until("the subscription", lambda: wanted(b)["RequestedMetrics"] == ["*"])
    for reserved in (0, 1):
        push(b, f"reserved id {reserved}", 1, uuid.UUID(int=reserved))
    asked = get(b, "asks", "a")["SubscriptionId"]
    push(b, "right", asked, "a", OTLP)
    push(b, "too early", asked, "a", OTLP)
    push(b, "the last may be early", asked, "a", OTLP, last=True)
    push(b, "the last twice", asked, "a", OTLP, last=True)
    push(b, "after the last", asked, "a", OTLP)
    push(b, "after that", asked, "a", OTLP)
    get(b, "asks after it", "a")
    push(b, "who never asked", of_another(b, asked, "a", "b"), "b", OTLP)
    get(b, "asks then", "b")
    push(b, "another instance's subscription", asked, "c", OTLP)
    push(b, "the right one then", of_another(b, asked, "a", "c"), "c", OTLP)
    get(b, "asks because it was unknown", "c")
    for number, (note, codec, metrics) in enumerate((
            ("nothing", NONE, b""),
            ("gzip", GZIP, gzip.compress(OTLP)),
            ("no gzip", GZIP, OTLP),
            ("no snappy", SNAPPY, OTLP),
            ("no lz4", LZ4, OTLP),
            ("no zstd", ZSTD, OTLP),
            ("codec 5", 5, OTLP),
            ("codec -1", -1, OTLP),
            ("nothing in gzip", GZIP, b""),
            ("no OTLP", NONE, b"\xff\xff\xff"),
            ("cut short", NONE, OTLP[:-3]),
            ("too large", NONE, bytes(1048577)),
            ("as large as allowed, and no OTLP", NONE, bytes(1048576)),
            ("a bomb", GZIP, gzip.compress(bytes(64 << 20))),
    )):
        of = f"p{number}"
        own = of_another(b, asked, "a", of)
        push(b, note, own, of, metrics, codec)
        get(b, f"asks after {note}", of)
        push(b, f"the last after {note}", own, of, OTLP, last=True)
    unsubscribe(b)


@case("PushTelemetry")
def a_changed_subscription(b):
    subscribe(b, metrics="org.a", interval_ms="3600000")
    b.until("the subscription", lambda: wanted(b)["RequestedMetrics"] == ["org.a"])
    asked = get(b, "asks", "a")["SubscriptionId"]
    push(b, "right", asked, "a", OTLP)
    subscribe(b, metrics="org.b")
    b.until("the change", lambda: wanted(b)["RequestedMetrics"] == ["org.b"])
    push(b, "the one before", asked, "a", OTLP)
    push(b, "again", asked, "a", OTLP)
    get(b, "asks", "a")
    unsubscribe(b)
