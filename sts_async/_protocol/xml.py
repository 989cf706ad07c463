"""
XML from the network as plain dicts and strings, and nothing else of what XML can be.

No DOCTYPE, entities, comments or processing instructions, no encoding but UTF-8, no network or file access. What a
document can cost is bounded by looking at its bytes, before the parser sees them: the parser itself has no limit of
time, and it never forgets a name that it has read.
"""

import codecs
import re
from typing import Any

from lxml import etree

from .._runtime.requirements import require
from .._shape.secret import SecretBytes
from ..operations import NAMESPACE

require("lxml", ".".join(map(str, etree.LXML_VERSION)))

MAX_BYTES = 256 * 1024  # an answer of STS has at most some 40 KiB: a token, or a decoded message
MAX_ELEMENTS = 1000  # an answer of STS has less than 60
MAX_MARKUP = 64 * 1024  # bytes of names, attributes, comments and CDATA; an answer of STS has about 1 KiB
MAX_DEPTH = 64
SHORT = 4 * MAX_ELEMENTS  # bytes, which hold no more elements than that: "<a/>"

Tree = str | dict[str, Any]
"""
An element: its text when it has no children, else its children by local name.

A name that occurs more than once has a list of trees. Children are those in the name space of the root, in that of STS,
or in none: some servers put a prefix on the root alone. Those in any other name space are left out.
"""

# Entity references are left alone, since without a DOCTYPE they are errors. The encoding is not guessed from the bytes.
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
# How UTF-16, UTF-32 and EBCDIC begin, with and without a byte order mark. Source: XML 1.0, appendix F.
FOREIGN = (
    *(b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<", b"\0\0\0<", b"\0\0\xfe\xff"),
    b"\x4c\x6f\xa7\x94",
)
ENCODINGS = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})  # ASCII is UTF-8, too
OTHER_ENCODING = "XML in another encoding than UTF-8"
# How almost every answer begins: with its root. All other ways are read with more care.
_ROOT_FIRST = tuple(b"<%c" % letter for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_STS = f"{{{NAMESPACE}}}"

# Text, which `re` compiles at first use and keeps. Nothing in them goes back, so that all run in linear time.
_PROLOG = rb"(?s)\s*+(?:<\?.*?\?>\s*+|<!--.*?-->\s*+)*+"
_DECLARATION = rb"<\?xml\s(?:[^>]*?\s)??encoding\s*=\s*[\"']([^\"'<>]*+)[\"']"
_START_OF_ROOT = rb"<[A-Za-z_:\x80-\xff]"
_MARKUP = rb"<(?:[^<>\"']++|\"[^<\"]*+\"|'[^<']*+')*+"
_NAMESPACE_WITH_SPACE = rb"(\sxmlns(?::[^\s=\"'<>]*+)?\s*+=\s*+)([\"'])\s*+([^\s\"'<>]*+)\s*+\2"


class XMLRefused(ValueError):
    """
    A document that is not well-formed, or that holds what no answer of STS holds. Quotes nothing of it.

    Attributes:
        final: Whether the next document will be refused, too. False for one that a broken connection can have cut.
    """

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def parse(document: SecretBytes) -> tuple[str, str, Tree]:
    """
    Return name space (or ''), local name and tree of the document's root.

    Raises:
        XMLRefused: Not well-formed, in another encoding than UTF-8, with a DOCTYPE, or too large, deep or wide.
    """
    root = _root(document)
    space, brace, name = root.tag.rpartition("}")
    return space[1:], name, _tree(root, space + brace, MAX_DEPTH) if len(root) else root.text or ""


def _root(document: SecretBytes) -> Any:
    begins = _checked(document)
    root = _parsed(document)
    if root is None and (ends := document.find(b">", begins)) > 0:
        start_tag = re.sub(_NAMESPACE_WITH_SPACE, rb"\1\2\3\2", document[begins:ends])
        if len(start_tag) < ends - begins:  # a name space that somebody has wrapped, which the parser refuses
            root = _parsed(SecretBytes(document[:begins] + start_tag + document[ends:]))
    if root is None:
        raise XMLRefused("not well-formed XML")
    return root


def _parsed(document: SecretBytes) -> Any:
    try:
        return etree.fromstring(document, PARSER)
    except (etree.XMLSyntaxError, ValueError):
        return None  # for the caller to raise, without the context: it can quote the document


def _checked(document: SecretBytes) -> int:
    """Return where the root begins, once nothing in the bytes is against parsing them."""
    if len(document) > SHORT:
        _check_size(document)
    if document.startswith(_ROOT_FIRST):
        return 0
    return _end_of_prolog(document)


def _check_size(document: SecretBytes) -> None:
    if len(document) > MAX_BYTES:
        raise XMLRefused(f"XML of more than {MAX_BYTES} bytes", final=True)
    # "<" that no "/" follows begins an element, or something that costs no less; each element ends at most once.
    opened, ended = document.count(b"<"), document.count(b"</")
    if max(opened - ended, ended) > MAX_ELEMENTS:
        raise XMLRefused(f"XML of more than {MAX_ELEMENTS} elements", final=True)
    if len(document) > MAX_MARKUP and sum(map(len, re.findall(_MARKUP, document))) > MAX_MARKUP:
        raise XMLRefused(f"XML with more than {MAX_MARKUP} bytes of markup", final=True)


def _end_of_prolog(document: SecretBytes) -> int:
    """Return where the root begins. What comes before is neither a DOCTYPE nor says another encoding than UTF-8."""
    if document.startswith(FOREIGN):
        raise XMLRefused(OTHER_ENCODING, final=True)
    start = len(BOM) if document.startswith(BOM) else 0
    prolog = re.compile(_PROLOG).match(document, start)
    begins = start if prolog is None else prolog.end()
    declared = re.match(_DECLARATION, document[start:begins])
    if declared is not None and declared[1].lower() not in ENCODINGS:
        raise XMLRefused(OTHER_ENCODING, final=True)
    # Also in a comment or an instruction: the parser may not agree where a broken one ends.
    if b"<!DOCTYPE" in document[start : begins + len(b"<!DOCTYPE")]:
        raise XMLRefused("XML with a DOCTYPE", final=True)
    if not re.compile(_START_OF_ROOT).match(document, begins):
        raise XMLRefused("not well-formed XML")
    return begins


def _tree(element: Any, prefix: str, depth: int) -> Tree:
    if depth == 0:
        raise XMLRefused(f"XML deeper than {MAX_DEPTH} elements")
    children: dict[str, Any] = {}
    skip = len(prefix)
    for child in element[:]:  # a list of them costs less than an iterator over them
        tag = child.tag
        if skip and tag.startswith(prefix):
            name = tag[skip:]
        elif tag[0] != "{":
            name = tag
        elif tag.startswith(_STS):
            name = tag[len(_STS) :]
        else:
            continue
        tree = _tree(child, prefix, depth - 1) if len(child) else child.text or ""
        if name not in children:
            children[name] = tree
        elif isinstance(children[name], list):
            children[name].append(tree)
        else:
            children[name] = [children[name], tree]
    return children
