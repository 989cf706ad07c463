"""Documents and plain trees of dicts, lists and text, each as the other: what tests write and compare."""

from typing import Any, TypeVar

from lxml import etree

from sts_async._protocol.converter import reader
from sts_async._protocol.xml import parse
from sts_async._shape.secret import SecretBytes
from sts_async._shape.shape import Shape

S = TypeVar("S", bound=Shape)

SPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def document_of(tree: Any, *, space: str = SPACE, **written: Any) -> bytes:
    """
    Return a tree as a document: a dict has children by name, a list repeats its name.

    Args:
        tree: The root's text, or its children.
        space: The namespace of all elements.
        written: How lxml writes it, as for `lxml.etree.tostring`.
    """
    root = etree.Element(f"{{{space}}}R", nsmap={None: space})
    _fill(root, tree, f"{{{space}}}")
    return bytes(etree.tostring(root, **written))


def _fill(element: Any, tree: Any, prefix: str) -> None:
    if not isinstance(tree, dict):
        element.text = str(tree)
        return
    for name, children in tree.items():
        for child in children if isinstance(children, list) else [children]:
            _fill(etree.SubElement(element, prefix + name), child, prefix)


def element_of(tree: Any) -> Any:
    """Return the root of a document, as readers of shapes get it."""
    return parse(SecretBytes(document_of(tree)))[1]


def structure(element: Any, cls: type[S], **beside: Any) -> S:
    """Return the shape that an element describes."""
    shape: S = reader(cls)(element, cls, **beside)
    return shape


def tree_of(element: Any) -> Any:
    """Return what readers can see in an element."""
    if not len(element):
        return element.text or ""
    found: dict[str, Any] = {}
    for child in element:
        name = child.tag.removeprefix(f"{{{SPACE}}}")
        if not name.startswith("{"):
            found.setdefault(name, []).append(tree_of(child))
    return {name: trees if len(trees) > 1 else trees[0] for name, trees in found.items()}
