"""A6: the report of what is new at AWS: every kind of difference is a row, and what is the same is none."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore
import model_drift
import pytest
from model_drift import Facts, Row, compare, model_facts, retry_facts

INSTALLED = Path(botocore.__file__).parent.parent

STATUS = {"httpStatusCode": 400}
MODEL: dict[str, Any] = {
    "operations": {
        "Get": {"input": {"shape": "GetRequest"}, "output": {"shape": "GetResponse"}, "errors": [{"shape": "Gone"}]},
        "Open": {"input": {"shape": "OpenRequest"}, "output": {"shape": "GetResponse"}, "authtype": "none"},
    },
    "shapes": {
        "GetRequest": {
            "type": "structure",
            "required": ["Name"],
            "members": {"Name": {"shape": "name"}, "Tags": {"shape": "tags"}, "Part": {"shape": "Part"}},
        },
        "OpenRequest": {"type": "structure", "members": {}},
        "GetResponse": {"type": "structure", "members": {"Key": {"shape": "key"}, "Size": {"shape": "size"}}},
        "Part": {"type": "structure", "members": {"Seconds": {"shape": "seconds"}}},
        "name": {"type": "string", "min": 2, "max": 64, "pattern": r"[\\w+=,.@-]*"},
        "tags": {"type": "list", "member": {"shape": "name"}, "max": 50},
        "mode": {"type": "string", "enum": ["One", "Two"]},
        "seconds": {"type": "integer", "min": 900, "max": 3600},
        "key": {"type": "string", "sensitive": True, "max": 9},
        "size": {"type": "integer"},
        "Gone": {
            "type": "structure",
            "members": {},
            "exception": True,
            "error": {"code": "Gone", "httpStatusCode": 400},
        },
    },
}


def with_mode(model: dict[str, Any]) -> None:
    model["shapes"]["Part"]["members"]["Mode"] = {"shape": "mode"}


def more_errors(model: dict[str, Any]) -> None:
    model["shapes"]["Late"] = {
        "type": "structure",
        "members": {},
        "exception": True,
        "error": {"code": "LateException", "httpStatusCode": 403},
    }
    model["operations"]["Get"]["errors"].append({"shape": "Late"})


def set_in(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(model: dict[str, Any]) -> None:
        for key in path[:-1]:
            model = model[key]
        model[path[-1]] = to

    return change


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(model: dict[str, Any]) -> None:
        for key in path[:-1]:
            model = model[key]
        del model[path[-1]]

    return change


SHAPES = "shapes"
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], list[tuple[str, ...]]]] = {
    "a new operation": (
        set_in("operations", "New", to={"input": {"shape": "OpenRequest"}, "output": {"shape": "GetResponse"}}),
        [("new", "operation", "New", "-", "errors -, input OpenRequest, output GetResponse, signed True")],
    ),
    "an operation that has gone": (
        without("operations", "Open"),
        [("gone", "operation", "Open", "errors -, input OpenRequest, output GetResponse, signed False", "-")],
    ),
    "an operation that is signed now": (
        without("operations", "Open", "authtype"),
        [("changed", "operation", "Open", "signed False", "signed True")],
    ),
    "a new error": (
        more_errors,
        [
            ("new", "error", "LateException", "-", "shape Late, status 403"),
            ("changed", "operation", "Get", "errors -", "errors Late"),
        ],
    ),
    "another status of an error": (
        set_in(SHAPES, "Gone", "error", "httpStatusCode", to=410),
        [("changed", "error", "Gone", "status 400", "status 410")],
    ),
    "a new member": (
        with_mode,
        [("new", "member", "Part.Mode", "-", "choices One Two, kind string, required False, sensitive False")],
    ),
    "a member that has gone": (
        without(SHAPES, "GetResponse", "members", "Size"),
        [("gone", "member", "GetResponse.Size", "kind integer, required False, sensitive False", "-")],
    ),
    "a member that is required now": (
        set_in(SHAPES, "GetRequest", "required", to=["Name", "Tags"]),
        [("changed", "member", "GetRequest.Tags", "required False", "required True")],
    ),
    "a raised limit, of a text and of the texts in a list": (
        set_in(SHAPES, "name", "max", to=256),
        [
            ("changed", "member", "GetRequest.Name", "max 64", "max 256"),
            ("changed", "member", "GetRequest.Tags", "each max 64", "each max 256"),
        ],
    ),
    "a limit that has gone": (
        without(SHAPES, "seconds", "min"),
        [("changed", "member", "Part.Seconds", "min 900", "no min")],
    ),
    "another pattern": (
        set_in(SHAPES, "name", "pattern", to="[a-z]*"),
        [
            ("changed", "member", "GetRequest.Name", r"pattern [\\w+=,.@-]*", "pattern [a-z]*"),
            ("changed", "member", "GetRequest.Tags", r"each pattern [\\w+=,.@-]*", "each pattern [a-z]*"),
        ],
    ),
    "another kind": (
        set_in(SHAPES, "size", "type", to="timestamp"),
        [("changed", "member", "GetResponse.Size", "kind integer", "kind timestamp")],
    ),
    "a member that is sensitive no more": (
        set_in(SHAPES, "key", "sensitive", to=False),
        [("changed", "member", "GetResponse.Key", "sensitive True", "sensitive False")],
    ),
    "a limit of what is received, which is the service's business": (set_in(SHAPES, "key", "max", to=99), []),
    "nothing": (lambda model: None, []),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_difference_between_models_is_a_row(kind: str) -> None:
    change, rows = CHANGES[kind]
    changed = copy.deepcopy(MODEL)
    change(changed)

    assert compare(model_facts(MODEL), model_facts(changed)) == [Row(*row) for row in rows]


def test_an_enum_that_grows_is_a_row() -> None:
    before, after = copy.deepcopy(MODEL), copy.deepcopy(MODEL)
    with_mode(before)
    with_mode(after)
    after["shapes"]["mode"] = {"type": "string", "enum": ["One", "Two", "Three"]}

    assert compare(model_facts(before), model_facts(after)) == [
        Row("changed", "member", "Part.Mode", "choices -", "choices Three")
    ]


STANDARD = """
DEFAULT_MAX_ATTEMPTS = 3
COMPUTED = max(1, 2)
class ExponentialBackoff:
    _MAX_BACKOFF = 20
    _RETRY_AFTER_MAX_ADDITIONAL = 5
    _DEFAULT_BACKOFF_CONFIG = {"throttling_base_scale": 1, "non_throttling_base_scale": 0.05}
class TransientRetryableChecker:
    _TRANSIENT_ERROR_CODES = ["RequestTimeout", "PriorRequestNotComplete"]
    _TRANSIENT_STATUS_CODES = [500]
class ThrottledRetryableChecker:
    _THROTTLED_ERROR_CODES = ["Throttling", "PriorRequestNotComplete"]
class ThrottlingStatusCodeChecker:
    _THROTTLING_STATUS_CODES = [429]
class RetryQuotaChecker:
    _RETRY_COST = 14
    _NO_RETRY_INCREMENT = 1
    _THROTTLING_RETRY_COST = 5
"""
QUOTA = "class RetryQuota:\n    INITIAL_CAPACITY = 500\n"


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        ("ATTEMPTS = 3", "ATTEMPTS = 4", [("changed", "retry", "attempts", "value 3.0", "value 4.0")]),
        ("_CAPACITY = 500", "_CAPACITY = 50", [("changed", "retry", "quota", "value 500.0", "value 50.0")]),
        ("_RETRY_COST = 14", "_RETRY_COST = 5", [("changed", "retry", "cost of a retry", "value 14.0", "value 5.0")]),
        ("0.05", "0.025", [("changed", "retry", "first delay", "value 0.05", "value 0.025")]),
        ("    _MAX_BACKOFF = 20\n", "", [("gone", "retry", "longest delay", "value 20.0", "-")]),
        ('"Throttling"', '"Slow"', [
            ("new", "retry", "throttling code Slow", "-", "retried True"),
            ("gone", "retry", "throttling code Throttling", "retried True", "-"),
        ]),
        ("[500]", "[500, 508]", [("new", "retry", "status 508", "-", "retried True")]),
        ("COMPUTED", "OTHER", []),
    ],
)  # fmt: skip
def test_a_difference_between_rules_of_retries_is_a_row(
    tmp_path: Path, old: str, new: str, rows: list[tuple[str, ...]]
) -> None:
    def facts(*change: str) -> Facts:
        for name, text in (("standard.py", STANDARD), ("quota.py", QUOTA)):
            (tmp_path / name).write_text(text.replace(*change) if change else text)
        return {"retry": retry_facts(tmp_path)}

    assert compare(facts(), facts(old, new)) == [Row(*row) for row in rows]


@pytest.mark.parametrize(
    ("section", "subject", "fact"), [("partition", "aws", "domain"), ("endpoint", "eu-west-1 UseFIPS", "url")]
)
def test_a_difference_between_partitions_or_endpoints_is_a_row(section: str, subject: str, fact: str) -> None:
    ours = model_drift.our_facts(["eu-west-1"])
    theirs = copy.deepcopy(ours)
    before = theirs[section][subject][fact]
    theirs[section][subject][fact] = "moved.example"
    theirs[section]["aws-new"] = {fact: "new.example"}

    assert compare(ours, theirs) == sorted(
        [
            Row("new", section, "aws-new", "-", f"{fact} new.example"),
            Row("changed", section, subject, f"{fact} {before}", f"{fact} moved.example"),
        ],
        key=lambda row: row.subject,
    )


def test_nothing_differs_from_the_pinned_botocore() -> None:
    """The rest of the suite holds the library to it; a row that came up here would be a mistake of the report."""
    assert model_drift.drift(INSTALLED) == []


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """Return a directory with a botocore whose model has a raised limit."""
    for relative in (
        "__init__.py",
        "retries/standard.py",
        "retries/quota.py",
        "data/partitions.json",
        "data/sts/2011-06-15/service-2.json",
        "data/sts/2011-06-15/endpoint-rule-set-1.json",
    ):
        source, target = INSTALLED / "botocore" / relative, tmp_path / "botocore" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".json":
            data = model_drift._data(source)
            if relative.endswith("service-2.json"):
                data["shapes"]["tokenCodeType"]["max"] = 8
            target.write_text(json.dumps(data))
        else:
            target.write_bytes(source.read_bytes())
    return tmp_path


def test_the_command_prints_a_table_and_says_by_its_status_whether_something_differs(
    moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For whoever moves the pins; nothing is downloaded for a directory."""
    assert model_drift.main(["--directory", str(moved)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = {" ".join(line.split()) for line in lines}

    assert lines[0].split() == ["change", "what", "subject", "here", "there"]
    assert "changed member AssumeRoleRequest.TokenCode max 6 max 8" in rows
    assert lines[-1] == f"{len(lines) - 2} differences from botocore {botocore.__version__}"


def test_the_command_says_when_there_is_nothing_to_compare_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model_drift.main(["--directory", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"there is no botocore in {tmp_path}\n"


def test_the_status_is_zero_when_nothing_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model_drift, "drift", lambda directory: [])

    assert model_drift.main(["--directory", str(INSTALLED)]) == 0
    assert capsys.readouterr().out == f"0 differences from botocore {botocore.__version__}\n"
