"""
The oldest versions of the packages below us that have no known hole which matters here.

An installation can be older than what `pyproject.toml` asks for: ``pip install --no-deps``, a pinned environment, a
vendored copy. Then importing the client says so, and what to run.
"""

from typing import NamedTuple


class Requirement(NamedTuple):
    """
    What is required of a package.

    Attributes:
        minimum: The oldest version that is used.
        below: The version that is not used any more; None for any.
        advisories: What is wrong with versions before *minimum*.
    """

    minimum: tuple[int, ...]
    below: int | None
    advisories: tuple[str, ...]


REQUIREMENTS = {
    # Bombs in answers and trailers, and credentials sent on to another origin.
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
    Check the version of a package, before anything is done with it.

    Args:
        package: Its name.
        found: The version that was imported.

    Raises:
        ImportError: It is older than the minimum. Says the advisories and the command that mends it.
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
