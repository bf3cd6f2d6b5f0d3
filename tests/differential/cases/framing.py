"""What comes before a request's meaning: versions, headers, cut and surplus bytes, and ApiVersions."""

import struct

from cases import case, every_api
from schema import Raw


def empty_answerable(api, v):
    """Requests that answer at once when everything in them is left at its default."""
    # Without transactions Kafka never answers it.
    if api == "AddPartitionsToTxn" and v >= 4:
        return False
    return api not in ("JoinGroup", "SyncGroup")


@case("ApiVersions", versions="all")
def plain(b, v):
    # What is served differs on purpose: only the versions of the same keys are compared.
    answer = b.quiet("ApiVersions", v, {"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"})
    assert answer["ErrorCode"] == 0, answer
    for name, version in (("", "1"), ("a", ""), (" ", "1"), ("a b", "1"), ("a/b.c-d", "1"),
                          ("-a", "1"), ("a-", "1"), ("ä", "1"), ("a" * 300, "1")):
        answer = b.quiet("ApiVersions", v, {"ClientSoftwareName": name,
                                            "ClientSoftwareVersion": version})
        answer = {"ErrorCode": answer.get("ErrorCode"), "outcome": answer.get("_outcome")}
        b.note("ApiVersions", v, f"software {name[:8]!r} {version!r}", answer)


@case("ApiVersions")
def unknown_versions(b):
    for version in (5, 99, 32767, -1):
        answer = b.quiet("ApiVersions", version, body=b"", header=struct.pack(
            ">hhih", 18, version, 1, -1), on=b.connect())
        b.note("ApiVersions", version, "", answer)


@case("ApiVersions")
def unknown_apis_close(b):
    for key, version in ((999, 0), (-1, 0), (32767, 1), (4, 0), (5, 0), (6, 0), (7, 0)):
        on = b.connect()
        header = struct.pack(">hhih", key, version, 1, -1)
        b.call("ApiVersions", 0, body=b"", header=header, on=on, note=f"key {key}")


@case("ApiVersions")
def sizes(b):
    for note, data in (("negative", struct.pack(">i", -1)), ("huge", struct.pack(">i", 0x7fffffff)),
                       ("over the limit", struct.pack(">i", 104857601)),
                       ("zero", struct.pack(">i", 0)), ("one byte", struct.pack(">ib", 1, 0)),
                       ("seven bytes", struct.pack(">ihhh", 7, 18, 0, 0) + b"\0")):
        on = b.connect()
        on.write(data)
        b.bare("ApiVersions", 0, note, on)


@case("ApiVersions")
def client_ids(b):
    for note, client in (("null", struct.pack(">h", -1)), ("empty", struct.pack(">h", 0)),
                         ("-2", struct.pack(">h", -2)), ("too long", struct.pack(">h", 500)),
                         ("bad UTF-8", struct.pack(">h", 2) + b"\xff\xfe")):
        header = struct.pack(">hhi", 18, 0, 1) + client
        answer = b.quiet("ApiVersions", 0, body=b"", header=header, on=b.connect())
        b.note("ApiVersions", 0, note, {"ErrorCode": answer.get("ErrorCode"),
                                        "outcome": answer.get("_outcome")})


@case("ApiVersions")
def every_api_below_and_above_its_versions(b):
    for api, served in sorted(b.served.items()):
        for version in (served[0] - 1, served[-1] + 1, 1000):
            if api == "ApiVersions" or version < 0 and api != "Metadata":
                continue
            if api == "Produce" and version < 3:
                continue
            message = b.schemas.requests[api]
            header = struct.pack(">hhih", message.key, version, 1, -1)
            b.call("ApiVersions", 0, body=b"\0" * 64, header=header, on=b.connect(),
                   note=f"{api} {version}")


@every_api
def cut_and_surplus_bytes(b, api, v):
    """Bodies that end early, or do not end. Acks 0 would be answered by nobody."""
    message = b.schemas.requests[api]
    full = message.encode(v, {"Acks": -1} if api == "Produce" else {})
    for note, body in (("nothing", b""), ("one short", full[:-1])):
        if len(full) > 0:
            b.call(api, v, body=body, note=f"body: {note}", on=b.connect())
    if empty_answerable(api, v):
        b.call(api, v, body=full, note="body: all defaults", on=b.connect())
        b.call(api, v, body=full + b"more", note="body: surplus", on=b.connect())


@case("Metadata", versions="all")
def array_lengths(b, v):
    for count in (0x7fffffff, 0x10000000, 100_000, -1, -2):
        raw = struct.pack(">i", count)
        if v >= 9:
            raw = {0x7fffffff: b"\xff\xff\xff\xff\x0f", 0x10000000: b"\x81\x80\x80\x80\x01",
                   100_000: b"\xa1\x8d\x06", -1: b"\0", -2: b"\xff\xff\xff\xff\x0f"}[count]
        if count == -1 and v > 0:
            continue
        b.call("Metadata", v, {"Topics": Raw(raw)}, note=f"{count} topics", on=b.connect())
