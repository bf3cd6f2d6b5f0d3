"""Kafka's own message schemas, read from its jar: requests are written and answers read by them.

Nothing of Corelane is used here, so that a mistake in its tables cannot hide itself. Encoding is
deliberately lax: a field may be left out (its default is sent), be null where null is not allowed,
or be `Raw` bytes that stand in its place.

Source: `common/message/*.json` of kafka-clients, Kafka's protocol guide.
"""

import glob
import json
import re
import struct
import uuid
import zipfile

ZERO_UUID = uuid.UUID(int=0)


class Raw(bytes):
    """Bytes that are written in place of a field, whatever its type."""


class Malformed(Exception):
    """An answer that is not what the schema says."""


class Range:
    """A span of versions as the schemas write it: `3`, `3+`, `1-4`, `none`."""

    def __init__(self, text):
        self.low, self.high = 1, 0
        text = text.strip()
        if text == "none":
            return
        if text.endswith("+"):
            self.low, self.high = int(text[:-1]), 1 << 15
        elif "-" in text:
            self.low, self.high = (int(part) for part in text.split("-"))
        else:
            self.low = self.high = int(text)

    def __contains__(self, version):
        return self.low <= version <= self.high


FIXED = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I",
         "int64": "q", "float64": "d"}


class Field:
    """One field of a message, with what its type needs to be read and written."""

    def __init__(self, spec, structs):
        self.name = spec["name"]
        self.kind = spec["type"]
        self.versions = Range(spec.get("versions", "0+"))
        self.nullable = Range(spec.get("nullableVersions", "none"))
        self.tagged = Range(spec.get("taggedVersions", "none"))
        self.tag = spec.get("tag")
        self.about = spec.get("about", "")
        self.entity = spec.get("entityType", "")
        own_flexible = spec.get("flexibleVersions")
        self.flexible = Range(own_flexible) if own_flexible else None
        self.element = self.kind[2:] if self.kind.startswith("[]") else None
        of = self.element or self.kind
        if spec.get("fields"):
            structs[of] = [Field(one, structs) for one in spec.get("fields", [])]
        self.default_text = spec.get("default")

    def default(self, structs):
        text = self.default_text
        if self.element:
            return None if text == "null" else []
        if self.kind in structs:
            return None if text == "null" else {}
        if self.kind in ("string", "bytes", "records"):
            if text == "null" or (self.kind == "records" and text is None):
                return None
            return (text or "") if self.kind == "string" else b""
        if self.kind == "bool":
            return str(text).lower() == "true"
        if self.kind == "uuid":
            return ZERO_UUID
        if self.kind == "float64":
            return float(text or 0)
        return int(str(text or 0), 0)


class Message:
    """A request or a response: encode, decode, and its fields for those who make requests up."""

    def __init__(self, spec):
        self.name = spec["name"]
        self.key = spec.get("apiKey")
        self.valid = Range(spec["validVersions"])
        self.flexible = Range(spec.get("flexibleVersions", "none"))
        self.structs = {}
        for common in spec.get("commonStructs", []):
            fields = [Field(one, self.structs) for one in common["fields"]]
            self.structs[common["name"]] = fields
        self.fields = [Field(one, self.structs) for one in spec.get("fields", [])]
        self.names = {field.name for fields in [self.fields, *self.structs.values()]
                      for field in fields}

    def encode(self, version, value):
        out = bytearray()
        self._write_struct(out, self.fields, version, value, version in self.flexible)
        return bytes(out)

    def decode(self, version, data):
        reader = Reader(data)
        value = self._read_struct(reader, self.fields, version, version in self.flexible)
        if reader.at != len(data):
            value["_trailing"] = data[reader.at:].hex()
        return value

    def _write_struct(self, out, fields, version, value, flexible):
        if isinstance(value, Raw):
            out += value
            return
        for name in value:
            # A name of another struct passes: versions keep the same thing in different places.
            if name not in self.names and name != "_tags":
                raise KeyError(f"{self.name} has no field {name}")
        tags = dict(value.get("_tags", {}))
        for field in fields:
            if version not in field.versions:
                continue
            given = value.get(field.name, field.default(self.structs))
            if version in field.tagged:
                if field.name in value:
                    body = bytearray()
                    self._write(body, field, version, given, flexible)
                    tags[field.tag] = bytes(body)
                continue
            self._write(out, field, version, given, flexible)
        if flexible:
            unsigned(out, len(tags))
            for tag in sorted(tags):
                unsigned(out, tag)
                unsigned(out, len(tags[tag]))
                out += tags[tag]

    def _write(self, out, field, version, value, flexible):
        if isinstance(value, Raw):
            out += value
        elif field.element:
            length(out, None if value is None else len(value), flexible)
            for one in value or []:
                self._write_one(out, field.element, field, version, one, flexible)
        else:
            self._write_one(out, field.kind, field, version, value, flexible)

    def _write_one(self, out, kind, field, version, value, flexible):
        if field.flexible is not None:
            flexible = flexible and version in field.flexible
        if isinstance(value, Raw):
            out += value
        elif kind in self.structs:
            if version in field.nullable and not field.element:
                out += b"\xff" if value is None else b"\x01"
                if value is None:
                    return
            self._write_struct(out, self.structs[kind], version, value, flexible)
        elif kind == "uuid":
            out += value.bytes
        elif kind == "string":
            data = value.encode() if isinstance(value, str) else value
            if flexible:
                length(out, None if data is None else len(data), True)
            else:
                out += struct.pack(">h", -1 if data is None else len(data))
            out += data or b""
        elif kind in ("bytes", "records"):
            length(out, None if value is None else len(value), flexible)
            out += value or b""
        else:
            out += struct.pack(">" + FIXED[kind], value)

    def _read_struct(self, reader, fields, version, flexible):
        value, tagged = {}, {}
        for field in fields:
            if version not in field.versions:
                continue
            if version in field.tagged:
                tagged[field.tag] = field
                value[field.name] = field.default(self.structs)
                continue
            value[field.name] = self._read(reader, field, version, flexible)
        if flexible:
            for _ in range(reader.unsigned()):
                tag = reader.unsigned()
                body = Reader(reader.take(reader.unsigned()))
                if tag in tagged:
                    field = tagged[tag]
                    value[field.name] = self._read(body, field, version, True)
                    if body.at != len(body.data):
                        raise Malformed(f"tag {tag} has bytes left")
                else:
                    value.setdefault("_tags", {})[tag] = body.data.hex()
        return value

    def _read(self, reader, field, version, flexible):
        if not field.element:
            return self._read_one(reader, field.kind, field, version, flexible)
        count = reader.length(flexible)
        if count is None:
            return None
        if count > len(reader.data):
            raise Malformed(f"{count} elements of {field.name}")
        return [self._read_one(reader, field.element, field, version, flexible)
                for _ in range(count)]

    def _read_one(self, reader, kind, field, version, flexible):
        if field.flexible is not None:
            flexible = flexible and version in field.flexible
        if kind in self.structs:
            if version in field.nullable and not field.element:
                if reader.fixed("b") < 0:
                    return None
            return self._read_struct(reader, self.structs[kind], version, flexible)
        if kind == "uuid":
            return uuid.UUID(bytes=bytes(reader.take(16)))
        if kind == "string":
            size = reader.length(True) if flexible else reader.short()
            if size is None:
                return None
            return bytes(reader.take(size)).decode(errors="backslashreplace")
        if kind in ("bytes", "records"):
            size = reader.length(flexible)
            return None if size is None else bytes(reader.take(size))
        return reader.fixed(FIXED[kind])


class Reader:
    """Primitive types, from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Malformed(f"{count} bytes wanted, {len(self.data) - self.at} there")
        self.at += count
        return self.data[self.at - count:self.at]

    def fixed(self, form):
        (value,) = struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))
        return value

    def unsigned(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 35:
                raise Malformed("a varint of more than five bytes")

    def length(self, flexible):
        count = self.unsigned() - 1 if flexible else self.fixed("i")
        return None if count < 0 else count

    def short(self):
        count = self.fixed("h")
        return None if count < 0 else count


def unsigned(out, value):
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def length(out, count, flexible):
    count = -1 if count is None else count
    if flexible:
        unsigned(out, count + 1)
    else:
        out += struct.pack(">i", count)


class Schemas:
    """All messages by API name: `requests["Fetch"]`, `responses["Fetch"]`, `data["..."]`."""

    def __init__(self, libs):
        (jar,) = glob.glob(f"{libs}/kafka-clients-*.jar")
        self.requests, self.responses = {}, {}
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                match = re.fullmatch(r"common/message/(\w+)(Request|Response)\.json", name)
                if not match:
                    continue
                text = re.sub(r"^\s*//.*$", "", archive.read(name).decode(), flags=re.M)
                side = self.requests if match[2] == "Request" else self.responses
                side[match[1]] = Message(json.loads(text))

    def key(self, api):
        return self.requests[api].key
