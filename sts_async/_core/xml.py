"""
XML from the network as plain dicts and strings, and nothing else of what XML can be.

No DOCTYPE, entities, comments or processing instructions, no network or file access, a bound on depth and number of
elements. The caller caps the bytes.
"""

from typing import Any

from lxml import etree

from .secret import SecretBytes

MAX_DEPTH = 64
MAX_ELEMENTS = 10_000
FEWEST_BYTES = 4  # of an element, "<a/>"

Tree = str | dict[str, Any]
"""
An element: its text when it has no children, else its children by local name.

A name that occurs more than once has a list of trees. Children in another name space than their parent are left out.
"""

PARSER = etree.XMLParser(
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    huge_tree=False,
    remove_blank_text=True,
    remove_comments=True,
    remove_pis=True,
)


class XMLRefused(ValueError):
    """A document that is not well-formed, or that holds what no answer of STS holds. Quotes nothing of it."""


def parse(document: SecretBytes) -> tuple[str, str, Tree]:
    """
    Return name space (or ''), local name and tree of the document's root.

    Raises:
        XMLRefused: Not well-formed, with a DOCTYPE, or too deep or wide.
    """
    may_be_wide = len(document) > MAX_ELEMENTS * FEWEST_BYTES
    # Before anything is built of it; an attribute costs as much as an element.
    if may_be_wide and max(document.count(b"<") // 2, document.count(b"=")) > MAX_ELEMENTS:
        raise XMLRefused(f"XML of more than {MAX_ELEMENTS} elements")
    try:
        root = etree.fromstring(document, PARSER)
    except (etree.XMLSyntaxError, ValueError):
        root = None  # raised below, without the context: it can quote the document
    if root is None:
        raise XMLRefused("not well-formed XML")
    if _has_doctype(root):
        raise XMLRefused("XML with a DOCTYPE")
    if may_be_wide and sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise XMLRefused(f"XML of more than {MAX_ELEMENTS} elements")
    space, brace, name = root.tag.rpartition("}")
    return space[1:], name, _tree(root, space + brace, MAX_DEPTH) if len(root) else root.text or ""


def _has_doctype(root: Any) -> bool:
    return bool(root.getroottree().docinfo.doctype)


def _tree(element: Any, prefix: str, depth: int) -> Tree:
    if depth == 0:
        raise XMLRefused(f"XML deeper than {MAX_DEPTH} elements")
    children: dict[str, Any] = {}
    skip = len(prefix)
    for child in element[:]:  # a list of them costs less than an iterator over them
        tag = child.tag
        if tag.startswith(prefix):
            name = tag[skip:]
            tree = _tree(child, prefix, depth - 1) if len(child) else child.text or ""
            if name not in children:
                children[name] = tree
            elif isinstance(children[name], list):
                children[name].append(tree)
            else:
                children[name] = [children[name], tree]
    return children
