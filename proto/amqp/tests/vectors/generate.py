"""Makes the byte vectors beside this file with the codecs of two Python clients.

pip install pika amqp; python generate.py ../../src/method/schema.rs

A line is: kind, name, the frame or table in hex, and what our `Debug` must show of it. Which field
stands where is the clients' knowledge; only names and types come from our schema.
"""
import datetime
import decimal
import re
import sys

import amqp
import pika
from amqp import serialization
from pika import data, frame, spec

RENAMED = {"kind": "type", "no_wait": "nowait", "global": "global_qos"}
UTC = datetime.timezone.utc


def methods(schema):
    """Yields (class, type name, wire name, [(field, type)]) of each method in the schema."""
    text = re.sub(r"^\s*//.*$", "", schema, flags=re.M)
    for part in re.split(r"\bclass ", text)[1:]:
        class_name = part.split()[1]
        for found in re.finditer(r'"([\w-]+)" (\w+) = \d+ \w+(?: content)? \{([^}]*)\}', part):
            fields = [tuple(x.strip() for x in f.split(":")) for f in found[3].split(",") if f.strip()]
            yield class_name, found[2], found[1], fields


def sample(index, field, kind):
    """A value for a field, and our `Debug` of it; neighbours always differ."""
    number = 3 + 7 * index
    if kind == "bool":
        return index % 2 == 0, str(index % 2 == 0).lower()
    if kind == "u8":
        return number, str(number)
    if kind == "u16":
        return 0x0100 + number, str(0x0100 + number)
    if kind == "u32":
        return 0x01020300 + number, str(0x01020300 + number)
    if kind == "u64":
        return 0x0102030405060700 + number, str(0x0102030405060700 + number)
    if kind in ("Text", "ShortString"):
        text = f"{field} é {index}"
        return text, f'"{text}"'
    if kind == "LongString":
        text = f"{field} {index}" * 20
        return text, f"LongString({len(text)} bytes)"
    if kind == "Table":
        return {"x-number": number}, '{"x-number": Int(%d)}' % number
    raise ValueError(kind)


def debug_bytes(text):
    return "[" + ", ".join(str(octet) for octet in text.encode()) + "]"


def pika_methods(schema):
    for class_name, name, wire, fields in methods(schema):
        kind_of_method = getattr(getattr(spec, class_name), name)
        method = kind_of_method.__new__(kind_of_method)
        shown = []
        for index, (field, kind) in enumerate(fields):
            value, debug = sample(index, field, kind)
            attribute = RENAMED.get(field, field)
            setattr(method, attribute, value)
            shown.append(f"{field}: {debug}")
        inner = f"{name} {{ {', '.join(shown)} }}" if shown else name
        payload = frame.Method(7, method).marshal()
        yield "method", f"{class_name.lower()}.{wire}", payload, f"{class_name}({name}({inner}))"


STRINGS = ["content_type", "content_encoding", "correlation_id", "reply_to", "expiration",
           "message_id", "kind", "user_id", "app_id", "cluster_id"]
ORDER = ["content_type", "content_encoding", "headers", "delivery_mode", "priority",
         "correlation_id", "reply_to", "expiration", "message_id", "timestamp", "kind", "user_id",
         "app_id", "cluster_id"]


def pika_headers():
    values = {name: (f"{name} é", f"Some({debug_bytes(f'{name} é')})") for name in STRINGS}
    values["headers"] = ({"CC": ["a", "b"]},
                         'Some({"CC": Array([LongString([97]), LongString([98])])})')
    values["delivery_mode"] = (2, "Some(2)")
    values["priority"] = (9, "Some(9)")
    values["timestamp"] = (1_700_000_000, "Some(1700000000)")
    sets = [(name, [name]) for name in ORDER] + [("all", ORDER), ("none", [])]
    sets += [("every_second", ORDER[::2]), ("every_third", ORDER[::3])]
    for label, names in sets:
        properties = spec.BasicProperties()
        for name in names:
            setattr(properties, RENAMED.get(name, name), values[name][0])
        shown = ", ".join(f"{n}: {values[n][1] if n in names else 'None'}" for n in ORDER)
        payload = frame.Header(7, 0x0102030405, properties).marshal()
        yield "header", label, payload, f"BasicProperties {{ {shown} }}"


TABLES = [
    ("empty", {}, "{}"),
    ("text", {"k": "é"}, '{"k": LongString([195, 169])}'),
    ("long_text", {"k": "x" * 300}, None),
    ("true", {"k": True}, '{"k": Bool(true)}'),
    ("int", {"k": -5}, '{"k": Int(-5)}'),
    ("int_min", {"k": -2147483647}, '{"k": Int(-2147483647)}'),
    ("long", {"k": 2147483648}, '{"k": Long(2147483648)}'),
    ("long_negative", {"k": -9223372036854775808}, '{"k": Long(-9223372036854775808)}'),
    ("decimal", {"k": decimal.Decimal("3.14")}, '{"k": Decimal { scale: 2, digits: 314 }}'),
    ("decimal_negative", {"k": decimal.Decimal("-3.14")},
     '{"k": Decimal { scale: 2, digits: 4294966982 }}'),
    ("timestamp", {"k": datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)},
     '{"k": Timestamp(1700000000)}'),
    ("void", {"k": None}, '{"k": Void}'),
    ("array", {"k": [1, "a", [True, None]]},
     '{"k": Array([Int(1), LongString([97]), Array([Bool(true), Void])])}'),
    ("empty_array", {"k": []}, '{"k": Array([])}'),
    ("nested", {"a": {"b": {"c": {}}}, "d": 1}, '{"a": Table({"b": Table({"c": Table({})})}), "d": Int(1)}'),
    ("x_death", {"x-death": [{"count": 2147483648, "queue": "q", "routing-keys": ["r"]}]},
     '{"x-death": Array([Table({"count": Long(2147483648), "queue": LongString([113]), '
     '"routing-keys": Array([LongString([114])])})])}'),
]


def pika_tables():
    for name, table, debug in TABLES:
        pieces = []
        data.encode_table(pieces, table)
        yield "table", name, b"".join(pieces), debug or "-"
    pieces = []
    data.encode_table(pieces, {"k": b"\x00\xff"})
    yield "table", "binary", b"".join(pieces), '{"k": Binary([0, 255])}'


def py_amqp_tables():
    extra = [("double", {"k": 1.5}, '{"k": Double(1.5)}'),
             ("text_of_bytes", {"k": b"\x00\xff"}, '{"k": LongString([0, 255])}')]
    for name, table, debug in TABLES + extra:
        yield "table", name, serialization.dumps("F", [table]), debug or "-"


def pika_frames():
    yield "frame", "body", frame.Body(7, b"abc").marshal(), "Body"
    yield "frame", "heartbeat", frame.Heartbeat().marshal(), "Heartbeat"
    yield "opening", "header", frame.ProtocolHeader().marshal(), "Amqp091"


def write(path, title, vectors):
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"# Made by generate.py with {title}. Do not edit.\n")
        for kind, name, payload, debug in vectors:
            out.write(f"{kind} {name} {payload.hex()} {debug}\n")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        SCHEMA = source.read()
    write("pika.txt", f"pika {pika.__version__}",
          [*pika_methods(SCHEMA), *pika_headers(), *pika_tables(), *pika_frames()])
    write("py_amqp.txt", f"amqp {amqp.__version__}", [*py_amqp_tables()])
