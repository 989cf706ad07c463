"""The documents that cost a parser most, one or more of each class, at the sizes that matter: its own cap and 1 MiB."""

import json
from collections.abc import Iterator

MIB = 1 << 20
XML_CAP = 1 << 18  # bytes; what is larger is refused unread
JSON_CAP = 1 << 16
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp037", "utf-7")


def filled(size: int, head: bytes, piece: bytes, tail: bytes = b"") -> bytes:
    """Return *head*, as many of *piece* as fit into *size* bytes, each with its number at ``%d``, and *tail*."""
    room, number, parts = size - len(head) - len(tail), 0, [head]
    while room > 0:
        part = piece.replace(b"%d", b"%d" % number)
        room -= len(part)
        number += 1
        if room >= 0:
            parts.append(part)
    return b"".join([*parts, tail])


PIECES: dict[str, tuple[bytes, bytes, bytes]] = {
    "DOCTYPE, ATTLIST": (b"<!DOCTYPE r [<!ATTLIST r", b" a%d ID #IMPLIED", b">]><r/>"),
    "DOCTYPE, entities": (b'<!DOCTYPE r [<!ENTITY a "xxxxxxxxxx">', b'<!ENTITY a%d "&a;&a;&a;">', b"]><r/>"),
    "DOCTYPE of a page": (b"<!DOCTYPE html><html>", b"<p>", b"</html>"),
    "attributes": (b"<r ", b'a%d="" ', b"/>"),
    "name spaces": (b"<r ", b'xmlns:a%d="u:%d" ', b"/>"),
    "name spaces, default": (b"<r>", b'<a xmlns="u:%d"/>', b"</r>"),
    "xml:id": (b"<r>", b'<a xml:id="a%d"/>', b"</r>"),
    "wide": (b"<r>", b"<a/>", b"</r>"),
    "wide, distinct names": (b"<r>", b"<a%d/>", b"</r>"),
    "wide, with text": (b"<r>", b"<a>x</a>y", b"</r>"),
    "deep": (b"", b"<a>", b""),
    "comments": (b"<r>", b"x<!---->", b"</r>"),
    "comments first": (b"", b"<!---->", b"<r/>"),
    "instructions": (b"<r>", b"x<?a?>", b"</r>"),
    "CDATA": (b"<r>", b"x<![CDATA[y]]>", b"</r>"),
    "entity references": (b"<r>", b"&amp;", b"</r>"),
    "unknown references": (b"<r>", b"&a;", b"</r>"),
    "character references": (b"<r>", b"&#x1F600;", b"</r>"),
    "text": (b"<r>", b"x", b"</r>"),
    "text, wide characters": (b"<r>\xf0\x9f\x98\x80", b"x", b"</r>"),
    "text, line breaks": (b"<r>", b"\r\n", b"</r>"),
    "text, quotes": (b"<r>", b"\"'=", b"</r>"),
    "an attribute": (b"<r a='", b"&lt;", b"'/>"),
    "a name": (b"<", b"a", b"/>"),
    "a comment": (b"<r><!--", b"- ", b"--></r>"),
    "space before": (b"", b"\n", b"<r/>"),
    "space in a tag": (b"<r", b" ", b"/>"),
    "space in a name space": (b"<r xmlns='", b" ", b"x y'/>"),
}
JSON_PIECES: dict[str, tuple[bytes, bytes, bytes]] = {
    "JSON, deep arrays": (b'{"a":', b"[", b""),
    "JSON, deep objects": (b"", b'{"a":', b""),
    "JSON, objects": (b'{"a":[', b"{},", b"{}]}"),
    "JSON, arrays": (b'{"a":[', b"[],", b"[]]}"),
    "JSON, members": (b"{", b'"%d":1,', b'"a":1}'),
    "JSON, numbers": (b'{"a":[', b"1.5,", b"1]}"),
    "JSON, huge integer": (b'{"a":', b"9", b"}"),
    "JSON, large integers": (b'{"a":[', b"9" * 4000 + b",", b"1]}"),
    "JSON, infinite": (b'{"a":[', b"1e999,", b"1]}"),
    "JSON, surrogates": (b'{"a":"', b"\\ud83d\\ude00", b'"}'),
    "JSON, half surrogates": (b'{"a":"', b"\\ud800", b'"}'),
    "JSON, one name": (b"{", b'"a":1,', b'"a":1}'),
}


def documents() -> Iterator[tuple[str, str, bytes]]:
    """Yield kind of reader, name and bytes of each document."""
    for name, pieces in PIECES.items():
        for size, shown in ((XML_CAP, "256 KiB"), (MIB, "1 MiB")):
            yield "xml", f"{name}, {shown}", filled(size, *pieces)[:size]
    yield "xml", "DOCTYPE, ATTLIST, 60 kB", filled(60_000, *PIECES["DOCTYPE, ATTLIST"])
    yield "xml", "attributes, 60 kB", filled(60_000, *PIECES["attributes"])
    yield "xml", "name spaces, 60 kB", filled(60_000, *PIECES["name spaces"])
    for encoding in ENCODINGS:
        text = filled(XML_CAP // 4, *PIECES["attributes"]).decode()
        yield "xml", f"in {encoding}", text.encode(encoding)[:XML_CAP]
        yield "xml", f"in {encoding}, declared", f"<?xml version='1.0' encoding='{encoding}'?>{text}".encode()
    for name, pieces in JSON_PIECES.items():
        yield "json", name, filled(JSON_CAP, *pieces)[:JSON_CAP]
    yield "json", "JSON in UTF-16", json.dumps({"a": "x" * (JSON_CAP // 2 - 99)}).encode("utf-16")
    for name, text in {"alike": "A" * 15 + "x", "all alike": "A", "escapes": "%2541"}.items():
        message = text * (XML_CAP // len(text) - 99)
        yield "error", f"message, {name}", f"<Error><Code>A</Code><Message>{message}</Message></Error>".encode()
    yield "error", "error in JSON", filled(JSON_CAP, b'{"__type":"A","message":"', b"A", b'"}')
