"""Packages import the modules behind their public names on first use."""

import pytest

from sts_async._runtime.lazy_imports import lazily

PACKAGE = "sts_async.observers"


def test_a_name_is_listed_before_its_module_is_imported() -> None:
    """Completion in an editor or a shell must show it."""
    _, listing = lazily(PACKAGE, names=["Later"], homes=["log"])

    assert {"Later", "__name__"} <= {*listing()}


@pytest.mark.parametrize("name", ["Later", "Other"], ids=["listed", "not listed"])
def test_an_unknown_name_raises_the_usual_attribute_error(name: str) -> None:
    """The error names the package, as Python does for any other module."""
    get, _ = lazily(PACKAGE, names=["Later"], homes=["log"])

    with pytest.raises(AttributeError, match=rf"^module 'sts_async\.observers' has no attribute '{name}'$"):
        get(name)
