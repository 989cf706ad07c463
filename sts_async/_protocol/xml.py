"""
XML from the network as elements that hold nothing but names, text and children.

No DOCTYPE, entities, comments or processing instructions, no encoding but UTF-8, no network or file access. The cost of
a document is bounded by counting in its bytes before the parser sees them: the parser itself has no limit of time, and
it never forgets a name that it has read.

An element of a response has its name in the namespace of STS, in that of the root, or in none: some servers put a
prefix on the root alone. `parse` takes the namespace of another server out of the names, so that each name has two
spellings for readers, which `tags` returns. Elements in any other namespace have neither, and readers skip them.
"""

import codecs
import contextlib
import functools
import re
from typing import Any

from lxml import etree

from .._runtime.requirements import require
from .._shape.secret import SecretBytes
from ..operations import NAMESPACE

require("lxml", ".".join(map(str, etree.LXML_VERSION)))

MAX_BYTES = 256 * 1024  # The largest responses of STS have about 40 KiB: a token, or a decoded message.
MAX_ELEMENTS = 1000  # Responses of STS have less than 60.
MAX_MARKUP = 64 * 1024  # Bytes of names, attributes, comments and CDATA. Responses of STS have about 1 KiB.
MAX_DEPTH = 64  # Elements that have children, one in the other. Responses of STS have 5.
SHORT = 4 * MAX_ELEMENTS  # Bytes. A shorter document cannot have more elements, because "<a/>" is the shortest.

# Entity references are not resolved: without a DOCTYPE they are errors. The encoding is not guessed from the bytes.
PARSER = etree.XMLParser(
    encoding="UTF-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    collect_ids=False,
    remove_blank_text=True,
    remove_comments=True,
    remove_pis=True,
)
BOM = codecs.BOM_UTF8
# The first bytes of UTF-16, UTF-32 and EBCDIC, with and without a byte order mark. Source: XML 1.0, appendix F.
FOREIGN = (
    *(b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<", b"\0\0\0<", b"\0\0\xfe\xff"),
    b"\x4c\x6f\xa7\x94",
)
ENCODINGS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})  # ASCII is UTF-8, too
OTHER_ENCODING = "XML in another encoding than UTF-8"
# Almost every response begins with its root. Any other beginning is examined before the parser sees it.
_ROOT_FIRST = tuple(b"<%c" % letter for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_STS = f"{{{NAMESPACE}}}"

# Patterns as text, which `re` compiles at first use and keeps. None of them backtracks, so all run in linear time.
_PROLOG = rb"(?s)\s*+(?:<\?.*?\?>\s*+|<!--.*?-->\s*+)*+"
_DECLARATION = rb"<\?xml\s(?:[^>]*?\s)??encoding\s*=\s*[\"']([^\"'<>]*+)[\"']"
_START_OF_ROOT = rb"<[A-Za-z_:\x80-\xff]"
_MARKUP = rb"<(?:[^<>\"']++|\"[^<\"]*+\"|'[^<']*+')*+"
_NAMESPACE_WITH_SPACE = rb"(\sxmlns(?::[^\s=\"'<>]*+)?\s*+=\s*+)([\"'])\s*+([^\s\"'<>]*+)\s*+\2"


class XMLRefused(ValueError):
    """
    A document is not well-formed, or contains something that no response of STS contains. The message quotes nothing.

    Attributes:
        final: Whether the next attempt would bring the same. False if a broken connection can have cut the document.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def parse(document: SecretBytes) -> tuple[str, Any]:
    """
    Return the namespace of the document's root (or ''), and the root.

    Raises:
        XMLRefused: The document is not well-formed, is in another encoding than UTF-8, has a DOCTYPE, or is too large,
            deep or wide.
    """
    root, begins = None, 0
    if len(document) > SHORT or not document.startswith(_ROOT_FIRST):
        begins = _check(document)
    try:
        root = etree.fromstring(document, PARSER)
    except (etree.XMLSyntaxError, ValueError):
        pass  # The error can quote the document, so the error of `_parsed_again` must not have it as its context.
    if root is None:
        root = _parsed_again(document, begins)
    tag = root.tag
    space = NAMESPACE
    if not tag.startswith(_STS):
        space = tag[1:].rpartition("}")[0]
        if space:
            _remove_namespace(root, f"{{{space}}}")
    # Each parent has two tags. Counting them costs less than a walk through the elements.
    if document.count(b"<") > 2 * MAX_DEPTH:
        _check_depth(root)
    return space, root


@functools.cache
def tags(name: str) -> frozenset[str]:
    """Return the tags that an element with this local name can have after `parse`: of STS, and without namespace."""
    return frozenset({name, _STS + name})


def local_name(element: Any) -> str:
    """Return the name of an element without the namespace of STS. Another namespace stays in it: no reader knows it."""
    return str(element.tag.removeprefix(_STS))


def children(element: Any) -> dict[str, Any]:
    """
    Return the children of an element, or of None, by `local_name`.

    A name that occurs more than once has None, because no rule says which of the elements counts.
    """
    found: dict[str, Any] = {}
    for child in () if element is None else element[:]:
        name = child.tag.removeprefix(_STS)
        found[name] = None if name in found else child
    return found


def text_of(element: Any) -> str:
    """Return the text of an element, or '' for None and for an element with children."""
    return "" if element is None or len(element) else element.text or ""


def _parsed_again(document: SecretBytes, begins: int) -> Any:
    """Return the root of a document that the parser refuses for spaces around a namespace."""
    ends = document.find(b">", begins)
    start_tag = re.sub(_NAMESPACE_WITH_SPACE, rb"\1\2\3\2", document[begins : max(ends, begins)])
    root = None
    if len(start_tag) < ends - begins:
        try:
            root = etree.fromstring(SecretBytes(document[:begins] + start_tag + document[ends:]), PARSER)
        except (etree.XMLSyntaxError, ValueError):
            pass  # as in `parse`
    if root is None:
        raise XMLRefused("not well-formed XML")
    return root


def _check(document: SecretBytes) -> int:
    """Return the offset of the root. Refuse a document that must not reach the parser."""
    if len(document) > SHORT:
        _check_size(document)
    return 0 if document.startswith(_ROOT_FIRST) else _end_of_prolog(document)


def _check_size(document: SecretBytes) -> None:
    if len(document) > MAX_BYTES:
        raise XMLRefused(f"XML of more than {MAX_BYTES} bytes", final=True)
    # "<" without "/" after it begins an element, or something as costly. Each element ends at most once.
    opened, ended = document.count(b"<"), document.count(b"</")
    if max(opened - ended, ended) > MAX_ELEMENTS:
        raise XMLRefused(f"XML of more than {MAX_ELEMENTS} elements", final=True)
    if len(document) > MAX_MARKUP and sum(map(len, re.findall(_MARKUP, document))) > MAX_MARKUP:
        raise XMLRefused(f"XML with more than {MAX_MARKUP} bytes of markup", final=True)


def _end_of_prolog(document: SecretBytes) -> int:
    """Return the offset of the root. Refuse a prolog with a DOCTYPE or with another encoding than UTF-8."""
    if document.startswith(FOREIGN):
        raise XMLRefused(OTHER_ENCODING, final=True)
    start = len(BOM) if document.startswith(BOM) else 0
    prolog = re.compile(_PROLOG).match(document, start)
    begins = start if prolog is None else prolog.end()
    declared = re.match(_DECLARATION, document[start:begins])
    if declared is not None and declared[1].lower() not in ENCODINGS:
        raise XMLRefused(OTHER_ENCODING, final=True)
    # A DOCTYPE in a comment or an instruction counts, because the parser may see the end of a broken one elsewhere.
    if b"<!DOCTYPE" in document[start : begins + len(b"<!DOCTYPE")]:
        raise XMLRefused("XML with a DOCTYPE", final=True)
    if not re.compile(_START_OF_ROOT).match(document, begins):
        raise XMLRefused("not well-formed XML")
    return begins


def _remove_namespace(root: Any, prefix: str) -> None:
    for element in root.iter():
        if element.tag.startswith(prefix):
            # The parser reads some names, such as ":a", that lxml does not write. No reader looks for them.
            with contextlib.suppress(ValueError):
                element.tag = element.tag.removeprefix(prefix)


def _check_depth(root: Any) -> None:
    parents = [root]
    for _ in range(MAX_DEPTH):
        parents = [child for parent in parents for child in parent if not local_name(child).startswith("{")]
    if any(map(len, parents)):
        raise XMLRefused(f"XML deeper than {MAX_DEPTH} elements")
