"""
The environment in which an SDK gets its credentials from the endpoint, and from no other source.

SDKs ask other sources first: keys and profiles in variables, web identity tokens, and the shared files. So some
variables must be unset, and files that have credentials for the default profile must be replaced.

Source: the credential chains of botocore, the SDKs for JavaScript, Go, Java and Rust, and of object_store, 2026.
"""

import os
from collections.abc import Mapping, MutableMapping

import attrs

from .._config.profile_plans import SESSION_KEYS, USED
from .._config.sections import PLAIN, Section, SharedConfig, Value
from .._shape.secret import HiddenMapping, Secret

FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of the variable
BOTO_CONFIG = "BOTO_CONFIG"  # botocore reads ~/.boto and /etc/boto.cfg before the endpoint, unless this is set
CONFIG_FILE = "AWS_CONFIG_FILE"
CREDENTIALS_FILE = "AWS_SHARED_CREDENTIALS_FILE"
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
DEFAULT = "default"

UNSET = (
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    *PROFILES,
)
"""Variables with sources of credentials that SDKs ask before the endpoint."""

CREDENTIAL_KEYS = frozenset(key for keys in USED.values() for key in keys).union(SESSION_KEYS)
"""Keys of a profile that select or describe a source of credentials."""

PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@attrs.frozen(kw_only=True)
class EndpointEnviron:
    """
    The variables that make an SDK use the endpoint.

        subprocess.Popen(command, env=endpoint.environ("demo").for_child())

    Attributes:
        variables: The variables to set. They have no secret, but the path of a file with the token.
        unset: The variables to remove.
        warnings: Reasons why an SDK would not use the endpoint in spite of the variables. `run_child` removes these
            reasons, with private copies of the files.
    """

    variables: Mapping[str, str]
    unset: tuple[str, ...] = UNSET
    warnings: tuple[str, ...] = ()

    def for_child(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a child: *environ*, or that of this process, with the changes."""
        before = HiddenMapping(os.environ if environ is None else environ)
        kept = {name: before[name] for name in before if name not in self.unset}
        return {**kept, **without_proxy(before), **self.variables}

    def apply(self, environ: MutableMapping[str, str] | None = None) -> None:
        """
        Make the changes in *environ*, or in the environment of this process, for libraries of this process.

        A library that blocks must not run in the thread of the endpoint's event loop, which could not answer then.
        """
        target = os.environ if environ is None else environ
        for name in self.unset:
            target.pop(name, None)
        target.update({**without_proxy(target), **self.variables})


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY variables for this host, if the environment has a proxy: some SDKs would use it for loopback."""
    if not any(environ.get(name) for name in PROXIES):
        return {}
    before = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if "127.0.0.1" in before.split(","):
        return {}
    return dict.fromkeys(("no_proxy", "NO_PROXY"), f"{before},127.0.0.1".lstrip(","))


def source_in_files(shared: SharedConfig) -> str | None:
    """Return the place of the credentials of the default profile in the shared files; None if it has none."""
    section = shared.profiles.get(DEFAULT)
    if section is None:
        return None
    found = next((key for key in section.values if key in CREDENTIAL_KEYS), None)
    return None if found is None else section.where(found)


def config_without_credentials(shared: SharedConfig, *, profile: str) -> Secret:
    """
    Return the text of a config file with all profiles, but without their sources of credentials.

    Args:
        shared: The contents of both shared files.
        profile: The profile whose settings become those of the default profile.
    """
    parts = ["# Written by sts-async for one command: settings of the config file, without credentials.\n"]
    chosen = shared.profiles.get(profile)
    if chosen is not None:
        parts.append(_section("default", chosen))
    for name, section in shared.profiles.items():
        if name != DEFAULT and _is_plain(name):
            parts.append(_section(f"profile {name}", section))
    for name, section in shared.services.items():
        if _is_plain(name):
            parts.append(_section(f"services {name}", section))
    return Secret("\n".join(parts))


def _is_plain(name: str) -> bool:
    return PLAIN.issuperset(name)


def _section(heading: str, section: Section) -> str:
    lines = [f"[{heading}]"]
    for key, value in section.values.items():
        if key not in CREDENTIAL_KEYS:
            lines += _property(key, value)
    return "".join(f"{line}\n" for line in lines)


def _property(key: str, value: Value) -> list[str]:
    if value.nested:
        return [f"{key} =", *(f"  {name} = {part.text}" for name, part in value.nested.items())]
    first, *rest = value.text.split("\n")
    return [f"{key} = {first}", *(f"  {line}" for line in rest)]
