"""Names of a package that are imported at first use, so that a program imports only the modules that it needs."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazily(
    package: str, *, names: Sequence[str], homes: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        names: Its ``__all__``.
        homes: The modules that define them, searched in this order.
    """
    module = import_module(package)

    def __getattr__(name: str) -> Any:  # noqa: N807 - of the package
        if name in names:
            for home in homes:
                found = import_module(f".{home}", package)
                if hasattr(found, name):
                    return vars(module).setdefault(name, getattr(found, name))
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def __dir__() -> list[str]:  # noqa: N807 - of the package
        return [*vars(module), *names]

    return __getattr__, __dir__
