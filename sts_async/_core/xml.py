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
    if may_be_wide and document.count(b"<") > 2 * MAX_ELEMENTS:  # before anything is built of it
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
    return space[1:], name, _tree(root, space + brace)


def _has_doctype(root: Any) -> bool:
    return bool(root.getroottree().docinfo.doctype)


def _tree(root: Any, prefix: str) -> Tree:
    """
    Return the tree of an element, from one pass over it and all below it.

    The number of children that an element has says when the next element is no longer one of them; asking each for its
    children would cost an iterator each.
    """
    skip = len(prefix)
    whole: dict[str, Any] = {}
    children, left = whole, 1
    above: list[tuple[dict[str, Any], int]] = []
    for element in root.iter():
        tag, size = element.tag, len(element)
        tree: Any = {} if size else element.text or ""
        if tag.startswith(prefix):
            name = tag[skip:]
            if name not in children:
                children[name] = tree
            elif isinstance(children[name], list):
                children[name].append(tree)
            else:
                children[name] = [children[name], tree]
        left -= 1
        if size:
            if len(above) == MAX_DEPTH:
                raise XMLRefused(f"XML deeper than {MAX_DEPTH} elements")
            above.append((children, left))
            children, left = tree, size
        while not left and above:
            children, left = above.pop()
    result: Tree = next(iter(whole.values()))
    return result
