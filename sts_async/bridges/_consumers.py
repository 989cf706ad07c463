"""Find the library that a bridge is for, when the bridge is used, and check its version."""

import functools
import importlib
import importlib.metadata
from typing import Any

from .._runtime.requirements import numbers
from ..errors import ConfigurationError


@functools.cache
def consumer(module: str, *, package: str | None = None, minimum: str) -> Any:
    """
    Return a module of another library.

    Args:
        module: Full name of the module.
        package: Name of the library on the package index; None for the first part of *module*.
        minimum: The oldest version that has what the bridge uses.

    Raises:
        ConfigurationError: The library is not installed or too old. The message has the command to run.
    """
    package = package or module.partition(".")[0]
    needed = f"this bridge needs {package}>={minimum}"
    advice = f"run: python -m pip install '{package}>={minimum}'"
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = None  # such as a copy without metadata: the import decides
    if version is not None and numbers(version) < numbers(minimum):
        raise ConfigurationError(f"{needed}, and {version} is installed; {advice}")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = error.name or ""
        if version is None and name.partition(".")[0] == module.partition(".")[0]:
            raise ConfigurationError(f"{needed}, which is not installed; {advice}") from None
        raise ConfigurationError(f"{needed}, and importing it failed: no module {name!r}") from error
