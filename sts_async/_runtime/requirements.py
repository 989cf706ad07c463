"""
The oldest versions of dependencies without a known vulnerability that matters here.

An installed version can be older than `pyproject.toml` requires: ``pip install --no-deps``, a pinned environment, a
vendored copy. Importing the client then raises an error with the command to run.
"""

from typing import NamedTuple


class Requirement(NamedTuple):
    """
    The accepted versions of a package.

    Attributes:
        minimum: The oldest accepted version.
        below: The first version that is too new; None for no limit.
        advisories: Vulnerabilities of the versions before *minimum*.
    """

    minimum: tuple[int, ...]
    below: int | None
    advisories: tuple[str, ...]


REQUIREMENTS = {
    # Compression bombs, unbounded trailers, and credentials that are sent to another origin.
    "aiohttp": Requirement(
        (3, 14, 1),
        5,
        ("CVE-2025-69223", "CVE-2026-22815", "CVE-2026-34516", "CVE-2026-34525", "CVE-2026-54278", "CVE-2026-54279"),
    ),
    # External entities.
    "lxml": Requirement((6, 1, 0), None, ("CVE-2026-41066",)),
}


def require(package: str, found: str) -> None:
    """
    Check the version of a package before it is used.

    Args:
        package: Its name.
        found: The version that was imported.

    Raises:
        ImportError: It is older than the minimum. The message has the advisories and the command to run.
    """
    required = REQUIREMENTS[package]
    if numbers(found) < required.minimum:
        minimum = ".".join(map(str, required.minimum))
        wanted = f"{package}>={minimum}" + (f",<{required.below}" if required.below else "")
        raise ImportError(
            f"sts_async requires {wanted}, found {found}: older versions have known vulnerabilities "
            f"({', '.join(required.advisories)}). Run: python -m pip install '{wanted}'",
            name=package,
        )


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (4, 0, 0) for ``4.0.0a2.dev1``."""
    found = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            found.append(int(digits))
        if digits != part:
            break
    return tuple(found)
