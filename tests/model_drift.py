"""
What is new at AWS: the library against the newest botocore, or another one, in a table.

    python -m tests.model_drift [--version 1.44.8 | --directory PATH]

Compared are the API model (operations, members, constraints, enums, errors, what is sensitive), the rules of retries,
endpoints and partitions. Nothing of that botocore is executed: its data is read, and numbers from its syntax trees.

Exit status: 0 when nothing differs, 1 when something does, 2 when that botocore cannot be had. This is for maintainers
who move the pins; no test depends on what is the newest.
"""

import argparse
import ast
import gzip
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sts_async import errors
from sts_async._protocol import endpoints
from sts_async._shape.constraints import Length, Member, OneOf, Range
from sts_async._shape.shape import Shape
from sts_async.errors import ConfigurationError, ServiceError
from sts_async.operations import API_VERSION, OPERATIONS
from sts_async.retries import StandardRetries, _policies

Facts = dict[str, dict[str, dict[str, Any]]]
"""Of each section, what is known of each subject in it."""

KINDS = {str: "string", int: "integer", bool: "boolean", list: "list", datetime: "timestamp"}
SWITCHES = ("UseFIPS", "UseDualStack", "UseGlobalEndpoint")
ABSENT = "-"

# Differences on purpose stand in one place: the tables of the tests that hold us to the pinned model.
TABLES = ("MORE_THAN_THE_MODEL", "REQUIRED_HERE_ONLY", "REQUIRED_IN_THE_MODEL_ONLY", "SECRET_HERE_ONLY")
CODES_HERE_ONLY = {"InternalFailure", "ServiceUnavailable"}  # of AWS; botocore goes by their status, 500 and 503


class Row(NamedTuple):
    """
    One difference.

    Attributes:
        change: "new" when only the other side has it, "gone" when only we have it, else "changed".
        section: What it is of.
        subject: What it is.
        here: What we have.
        there: What the other side has.
    """

    change: str
    section: str
    subject: str
    here: str
    there: str


def compare(ours: Facts, theirs: Facts) -> list[Row]:
    """Return every difference between two sets of facts, by section and subject."""
    rows = []
    for section in sorted({*ours, *theirs}):
        here, there = ours.get(section, {}), theirs.get(section, {})
        for subject in sorted({*here, *there}):
            if subject not in here:
                rows.append(Row("new", section, subject, ABSENT, _shown(there[subject])))
            elif subject not in there:
                rows.append(Row("gone", section, subject, _shown(here[subject]), ABSENT))
            else:
                mine, other = _differing(here[subject], there[subject]), _differing(there[subject], here[subject])
                if mine or other:
                    names = sorted({*mine, *other})
                    rows.append(Row("changed", section, subject, _shown(mine, names), _shown(other, names)))
    return rows


def table(rows: Iterable[Row]) -> str:
    """Return rows as text in columns."""
    lines = [("change", "what", "subject", "here", "there"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]) for line in lines
    )


def _differing(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what *other* does not say; of a list, what the other list lacks."""
    found = {}
    for name, value in mine.items():
        if name not in other or other[name] != value:
            both = isinstance(value, list) and isinstance(other.get(name), list)
            found[name] = [one for one in value if one not in other[name]] if both else value
    return found


def _shown(facts: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    wanted = sorted(facts) if names is None else names
    return ", ".join(f"{name} {_value(facts[name])}" if name in facts else f"no {name}" for name in wanted) or "-"


def _value(value: Any) -> str:
    return " ".join(map(str, value)) or ABSENT if isinstance(value, list | tuple) else str(value)


# -- What we have -----------------------------------------------------------------------------------------------------


def our_facts(regions: Iterable[str]) -> Facts:
    """Return the facts of this library; endpoints for *regions*."""
    return {
        "operation": {
            operation.name: {
                "input": operation.request.__name__,
                "output": operation.response.__name__,
                "signed": operation.signed,
                "errors": sorted(error.__name__ for error in operation.errors),
            }
            for operation in OPERATIONS
        },
        "member": {
            f"{name}.{member.wire}": {
                "required": member.required,
                "sensitive": member.secret,
                **_our_member(member, constrained=name in _sent()),
            }
            for name, cls in _our_shapes().items()
            for member in cls.__members__
        },
        "error": {
            code: {"shape": cls.__name__, "status": cls.modelled_status} for code, cls in ServiceError.by_code.items()
        },
        "retry": _our_retries(),
        "partition": {
            one.name: {
                "region pattern": one.region_pattern,
                "domain": one.dns_suffix,
                "dual-stack domain": one.dual_stack_dns_suffix,
                "global region": one.implicit_global_region,
            }
            for one in endpoints.PARTITIONS
        },
        "endpoint": {_where(region, flags): _our_endpoint(region, flags) for region, flags in _grid(regions)},
    }


def _name_of(cls: type) -> str:
    return "Credentials" if cls.__name__ == "TemporaryCredentials" else cls.__name__


def _below(cls: type) -> Iterator[type]:
    """Yield a shape and all that it holds."""
    yield cls
    for member in cls.__members__:  # type: ignore[attr-defined]
        for kind in (member.kind, getattr(member.items, "kind", None)):
            if isinstance(kind, type) and issubclass(kind, Shape):
                yield from _below(kind)


def _our_shapes() -> dict[str, Any]:
    tops = [cls for operation in OPERATIONS for cls in (operation.request, operation.response)]
    return {_name_of(cls): cls for top in tops for cls in _below(top)}


def _sent() -> set[str]:
    return {_name_of(cls) for operation in OPERATIONS for cls in _below(operation.request)}


def _our_member(member: Member, *, constrained: bool) -> dict[str, Any]:
    is_shape = isinstance(member.kind, type) and issubclass(member.kind, Shape)
    facts: dict[str, Any] = {"kind": _name_of(member.kind) if is_shape else KINDS.get(member.kind, "map")}
    if not constrained:
        return facts
    for constraint in member.constraints:
        match constraint:
            case Length(least, most) | Range(least, most, _):
                facts |= {"min": least} if member.kind is not list or least else {}
                facts |= {"max": most} if most is not None else {}
            case OneOf(choices):
                facts["choices"] = list(choices)
            case _:
                facts["pattern"] = _pattern_of(constraint)
    if member.items:
        facts |= {f"each {name}": value for name, value in _our_member(member.items, constrained=True).items()}
    return facts


def _pattern_of(constraint: Any) -> str:
    """Return a rule for text in words: an expression, or letters of categories and other characters."""
    return " ".join(map(str, constraint))


def _our_retries() -> dict[str, dict[str, Any]]:
    codes = {"throttling code": errors.THROTTLING_CODES, "transient code": errors.TRANSIENT_CODES - CODES_HERE_ONLY}
    numbers = {
        "attempts": StandardRetries()._max_attempts,
        "quota": _policies.QUOTA,
        "cost of a retry": _policies.RETRY_COST[False],
        "cost of a retry after throttling": _policies.RETRY_COST[True],
        "refund of a success": _policies.SUCCESS_REFUND,
        "longest delay": _policies.MAX_BACKOFF,
        "first delay": _policies.BACKOFF_BASE[False],
        "first delay after throttling": _policies.BACKOFF_BASE[True],
        "longest hint": _policies.MAX_HINT,
    }
    found = {name: {"value": float(number)} for name, number in numbers.items()}
    found |= {f"{kind} {code}": {"retried": True} for kind, those in codes.items() for code in those}
    return found | {f"status {status}": {"retried": True} for status in {*errors.TRANSIENT_STATUSES, 429}}


def _our_endpoint(region: str, flags: tuple[bool, ...]) -> dict[str, Any]:
    names = ("use_fips", "use_dualstack", "use_global_endpoint")
    try:
        found = endpoints.resolve(region=region, endpoint_url=None, **dict(zip(names, flags, strict=True)))  # type: ignore[arg-type]
    except ConfigurationError:
        return {"refused": True}
    return {"url": found.url, "signing region": found.signing_region}


# -- What botocore has ------------------------------------------------------------------------------------------------


def their_facts(directory: Path) -> Facts:
    """Return the facts of the botocore in *directory*, without those that differ on purpose."""
    data = directory / "botocore/data"
    partitions = _data(data / "partitions.json")
    facts = model_facts(_data(data / f"sts/{API_VERSION}/service-2.json"))
    facts["retry"] = retry_facts(directory / "botocore/retries")
    facts["partition"] = {
        one["id"]: {
            "region pattern": one["regionRegex"].removeprefix("^").removesuffix("$").replace(r"\-", "-"),
            "domain": one["outputs"]["dnsSuffix"],
            "dual-stack domain": one["outputs"]["dualStackDnsSuffix"],
            "global region": one["outputs"]["implicitGlobalRegion"],
        }
        for one in partitions["partitions"]
    }
    facts["endpoint"] = _their_endpoints(_data(data / f"sts/{API_VERSION}/endpoint-rule-set-1.json"), partitions)
    return facts


def regions_of(directory: Path) -> list[str]:
    """Return the regions that the botocore in *directory* knows."""
    partitions = _data(directory / "botocore/data/partitions.json")["partitions"]
    return sorted({region for one in partitions for region in one["regions"]})


def model_facts(model: dict[str, Any]) -> Facts:
    """Return the facts of an API model, without those that differ here on purpose."""
    shapes, on_purpose = model["shapes"], {name: _table(name) for name in TABLES}
    tops = {shape: name for name in model["operations"] for shape in _tops(model["operations"][name])}
    sent = {name for one in model["operations"].values() for name in _names_below(shapes, one["input"]["shape"])}
    marked = {name for name, shape in shapes.items() if shape.get("sensitive")}
    hidden = {below for name in marked for below in _names_below(shapes, name)}  # of a marked structure, all is secret
    members: dict[str, dict[str, Any]] = {}
    for name in {name for top in tops for name in _names_below(shapes, top)}:
        for wire, member in shapes[name]["members"].items():
            full = f"{name}.{wire}"
            required = wire in shapes[name].get("required", ())
            members[full] = {
                "required": (required or full in on_purpose["REQUIRED_HERE_ONLY"])
                and full not in on_purpose["REQUIRED_IN_THE_MODEL_ONLY"],
                "sensitive": name in hidden or member["shape"] in marked or full in on_purpose["SECRET_HERE_ONLY"],
                **_their_member(shapes, member["shape"], constrained=name in sent),
            }
            for fact, value in dict(on_purpose["MORE_THAN_THE_MODEL"]).get(full, {}).items():
                members[full].setdefault(fact, list(value) if isinstance(value, tuple) else value)
    return {
        "operation": {
            name: {
                "input": one["input"]["shape"],
                "output": one["output"]["shape"],
                "signed": one.get("authtype") != "none",
                "errors": sorted(error["shape"] for error in one.get("errors", ())),
            }
            for name, one in model["operations"].items()
        },
        "member": members,
        "error": {
            shape["error"]["code"]: {"shape": name, "status": shape["error"]["httpStatusCode"]}
            for name, shape in shapes.items()
            if shape.get("exception")
        },
    }


def _tops(operation: dict[str, Any]) -> list[str]:
    return [operation["input"]["shape"], operation["output"]["shape"]]


def _names_below(shapes: dict[str, Any], name: str) -> Iterator[str]:
    shape = shapes[name]
    if shape["type"] == "structure":
        yield name
        for member in shape["members"].values():
            yield from _names_below(shapes, member["shape"])
    elif shape["type"] == "list":
        yield from _names_below(shapes, shape["member"]["shape"])
    elif shape["type"] == "map":
        yield from _names_below(shapes, shape["value"]["shape"])


def _their_member(shapes: dict[str, Any], name: str, *, constrained: bool) -> dict[str, Any]:
    shape = shapes[name]
    facts: dict[str, Any] = {"kind": name if shape["type"] == "structure" else shape["type"]}
    if not constrained:
        return facts
    facts |= {fact: shape[fact] for fact in ("min", "max") if fact in shape}
    if "enum" in shape:
        facts["choices"] = list(shape["enum"])
    if "pattern" in shape:
        facts["pattern"] = _dialect(shape["pattern"])
    if shape["type"] == "list":
        each = _their_member(shapes, shape["member"]["shape"], constrained=True)
        facts |= {f"each {fact}": value for fact, value in each.items()}
    return facts


def _dialect(pattern: str) -> str:
    r"""Return a model's pattern as ours say it: `re` has no `\p{L}`, and reads ``\u10000`` as two characters."""
    if categories := re.fullmatch(r"\[((?:\\p\{\w\})+)(.*)\][+*]", pattern):
        letters, others = categories.groups()
        return " ".join(["".join(re.findall(r"\w(?=\})", letters)), others.replace("\\", "")])
    pattern = pattern.replace(r"\u10000-\u10FFFF", r"\U00010000-\U0010FFFF")
    return pattern.replace(r"\u0009\u000A\u000D", r"\t\n\r")


def _table(name: str) -> Any:
    """Return a table of differences on purpose. It is read, not imported: those tests read the installed botocore."""
    tree = ast.parse((Path(__file__).parent / "test_model.py").read_text(encoding="utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
    ]
    return ast.literal_eval(values[0])


def retry_facts(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the rules of retries in the sources of ``botocore/retries``; what is not there is left out."""
    standard, quota = (_literals(directory / name) for name in ("standard.py", "quota.py"))
    backoff = standard.get("ExponentialBackoff._DEFAULT_BACKOFF_CONFIG", {})
    numbers = {
        "attempts": standard.get("DEFAULT_MAX_ATTEMPTS"),
        "quota": quota.get("RetryQuota.INITIAL_CAPACITY"),
        "cost of a retry": standard.get("RetryQuotaChecker._RETRY_COST"),
        "cost of a retry after throttling": standard.get("RetryQuotaChecker._THROTTLING_RETRY_COST"),
        "refund of a success": standard.get("RetryQuotaChecker._NO_RETRY_INCREMENT"),
        "longest delay": standard.get("ExponentialBackoff._MAX_BACKOFF"),
        "first delay": backoff.get("non_throttling_base_scale"),
        "first delay after throttling": backoff.get("throttling_base_scale"),
        "longest hint": standard.get("ExponentialBackoff._RETRY_AFTER_MAX_ADDITIONAL"),
    }
    found: dict[str, dict[str, Any]] = {
        name: {"value": float(number)} for name, number in numbers.items() if number is not None
    }
    codes = {
        "throttling code": standard.get("ThrottledRetryableChecker._THROTTLED_ERROR_CODES", ()),
        "transient code": standard.get("TransientRetryableChecker._TRANSIENT_ERROR_CODES", ()),
        "status": [
            *standard.get("TransientRetryableChecker._TRANSIENT_STATUS_CODES", ()),
            *standard.get("ThrottlingStatusCodeChecker._THROTTLING_STATUS_CODES", ()),
        ],
    }
    found |= {f"{kind} {code}": {"retried": True} for kind, those in codes.items() for code in those}
    if "throttling code PriorRequestNotComplete" in found:
        found.pop("transient code PriorRequestNotComplete", None)  # botocore lists it twice; throttling comes first
    return found


def _literals(path: Path) -> dict[str, Any]:
    """Return the constants of a module and of its classes that are plain values, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    scopes = [("", tree.body), *((f"{one.name}.", one.body) for one in tree.body if isinstance(one, ast.ClassDef))]
    found = {}
    for prefix, body in scopes:
        for node in body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                try:
                    found[prefix + node.targets[0].id] = ast.literal_eval(node.value)
                except ValueError:
                    continue  # it is computed
    return found


def _their_endpoints(rules: dict[str, Any], partitions: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a rule set says, as the installed botocore reads it."""
    from botocore.endpoint_provider import EndpointProvider
    from botocore.exceptions import EndpointResolutionError

    provider = EndpointProvider(rules, partitions)
    found: dict[str, dict[str, Any]] = {}
    for region, flags in _grid({region for one in partitions["partitions"] for region in one["regions"]}):
        try:
            endpoint = provider.resolve_endpoint(Region=region, **dict(zip(SWITCHES, flags, strict=True)))
        except EndpointResolutionError:
            found[_where(region, flags)] = {"refused": True}
            continue
        scheme = endpoint.properties.get("authSchemes", [{}])[0]
        url = endpoint.url if urlsplit(endpoint.url).path else f"{endpoint.url}/"
        found[_where(region, flags)] = {"url": url, "signing region": scheme.get("signingRegion", region)}
    return found


def _grid(regions: Iterable[str]) -> Iterator[tuple[str, tuple[bool, ...]]]:
    """Yield each region with each combination of flags, without those that are refused here on purpose."""
    switches = itertools.product((False, True), repeat=len(SWITCHES))
    whole = {one.pseudo_region for one in endpoints.PARTITIONS} - {endpoints.GLOBAL_REGION}
    for region, flags in itertools.product(sorted({*regions} - whole), switches):
        if region != endpoints.GLOBAL_REGION or not any(flags[:2]):  # FIPS and dual-stack hosts are regional
            yield region, flags


def _where(region: str, flags: tuple[bool, ...]) -> str:
    return " ".join([region, *itertools.compress(SWITCHES, flags)])


def _data(path: Path) -> Any:
    packed = path.with_name(f"{path.name}.gz")
    return json.loads(gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes())


# -- The command ------------------------------------------------------------------------------------------------------


def drift(directory: Path) -> list[Row]:
    """Return how the library differs from the botocore in *directory*."""
    return compare(our_facts(regions_of(directory)), their_facts(directory))


def version_in(directory: Path) -> str:
    """Return the version of the botocore in *directory*."""
    return str(_literals(directory / "botocore/__init__.py")["__version__"])


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.model_drift", description="What is new at AWS.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", help="version of botocore; the newest when none is named")
    which.add_argument("--directory", type=Path, help="a directory that has botocore/ in it; nothing is downloaded")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        if options.directory is None:
            wanted = f"botocore=={options.version}" if options.version else "botocore"
            install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", temporary, wanted]
            if subprocess.run([sys.executable, *install], check=False).returncode:
                print(f"{wanted} cannot be had", file=sys.stderr)
                return 2
        if not (directory / "botocore/__init__.py").exists():
            print(f"there is no botocore in {directory}", file=sys.stderr)
            return 2
        rows, version = drift(directory), version_in(directory)
    if rows:
        print(table(rows))
    print(f"{len(rows)} differences from botocore {version}")
    return 1 if rows else 0


if __name__ == "__main__":
    sys.exit(main())
