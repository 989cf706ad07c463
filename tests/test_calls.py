"""Each coroutine of the client against the request shape that it makes: a member stands in two places."""

import inspect
import re
from typing import Annotated, Any, ForwardRef, TypeVar, get_args, get_origin, get_type_hints

import attrs
import pytest

from sts_async import errors
from sts_async.calls import Calls
from sts_async.operations import OPERATIONS, Operation
from sts_async.shapes import Request, Response

R = TypeVar("R", bound=Response)

NAMED = {
    operation: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation.name).lower().replace("withsaml", "with_saml")
    for operation in OPERATIONS
}
each_call = pytest.mark.parametrize(("operation", "name"), NAMED.items(), ids=NAMED.values())


class Recorder(Calls):
    """Answers every request with itself."""

    async def send(self, request: Request[R]) -> R:
        return request  # type: ignore[return-value]


def bare(annotation: Any) -> Any:
    """Return a type without `Annotated`, at any depth."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    arguments = get_args(annotation)
    if not arguments or isinstance(annotation, ForwardRef):
        return annotation
    if get_origin(annotation).__name__ in ("Union", "UnionType"):
        return frozenset(part for a in arguments for part in (bare(a) if isinstance(bare(a), frozenset) else {bare(a)}))
    return get_origin(annotation), tuple(bare(a) for a in arguments)


def parameters(name: str) -> list[inspect.Parameter]:
    return [*inspect.signature(getattr(Calls, name)).parameters.values()][1:]


def section(name: str, title: str) -> str:
    """Return the lines of a section of a coroutine's docstring."""
    text = inspect.getdoc(getattr(Calls, name)) or ""
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    return found[1] if found else ""


def entries(name: str, title: str) -> list[str]:
    return re.findall(r"^    (\w+):", section(name, title), re.MULTILINE)


def test_the_coroutines_are_the_operations_in_order() -> None:
    """One for each, under the API's name in snake case, and `send`."""
    public = [name for name in vars(Calls) if not name.startswith("_")]

    assert public == ["send", *NAMED.values()]


@each_call
def test_a_coroutine_takes_the_members_of_its_request(operation: Operation[Any], name: str) -> None:
    """Names, order, defaults and types, by keyword only."""
    fields = [field for field in attrs.fields(operation.request) if field.init]
    hints = get_type_hints(getattr(Calls, name), include_extras=True)
    members = get_type_hints(operation.request, include_extras=True)

    assert inspect.iscoroutinefunction(getattr(Calls, name))
    assert {p.kind for p in parameters(name)} <= {inspect.Parameter.KEYWORD_ONLY}
    assert [p.name for p in parameters(name)] == [field.name for field in fields]
    assert [p.default if p.default is not p.empty else attrs.NOTHING for p in parameters(name)] == [
        field.default for field in fields
    ]
    assert {p.name: bare(hints[p.name]) for p in parameters(name)} == {
        field.name: bare(members[field.name]) for field in fields
    }
    assert hints["return"] is operation.response


@each_call
async def test_a_coroutine_sends_exactly_what_it_is_given(operation: Operation[Any], name: str) -> None:
    """Each argument lands in the member of its name: two that are swapped would be of the same type."""
    given = {p.name: (p.name,) if p.default == () else p.name for p in parameters(name)}
    required = {p.name: p.name for p in parameters(name) if p.default is p.empty}

    assert await getattr(Recorder(), name)(**given) == operation.request(**given)
    assert await getattr(Recorder(), name)(**required) == operation.request(**required)


@each_call
def test_a_docstring_lists_the_errors_of_the_operation(operation: Operation[Any], name: str) -> None:
    """In the order of the table, which is the model's."""
    assert entries(name, "Raises") == [error.__name__ for error in operation.errors]
    assert all(hasattr(errors, error) for error in entries(name, "Raises"))


@each_call
def test_a_docstring_explains_every_argument(operation: Operation[Any], name: str) -> None:
    """And names the page of the API reference, and what the caller gets."""
    text = inspect.getdoc(getattr(Calls, name)) or ""

    assert entries(name, "Args") == [p.name for p in parameters(name)]
    assert text.startswith("Return ")
    assert f"Source: STS API Reference, {operation.name}." in text


@each_call
def test_a_docstring_says_the_limits_that_are_checked(operation: Operation[Any], name: str) -> None:
    """Numbers in prose go stale silently; the default lifetime is the one that absurd expirations come down to."""
    explained = dict(re.findall(r"^    (\w+): ((?:.*\n)(?:     .*\n)*)", section(name, "Args"), re.MULTILINE))
    for member in operation.request.__members__:
        for constraint in member.constraints:
            most = getattr(constraint, "most", None)
            if most is not None and (constraint.least, most) != (6, 6) and not hasattr(constraint, "choices"):
                said = "RS256" in explained[member.name] or f"{most:,}" in explained[member.name]

                assert said, f"{member.name}: {most:,} is not in its explanation"
    if operation.default_duration is not None:
        assert f"default is {operation.default_duration:,}" in " ".join(explained["duration_seconds"].split())


@each_call
def test_a_missing_or_unknown_argument_is_a_type_error(operation: Operation[Any], name: str) -> None:
    """At the call, before anything is awaited."""
    with pytest.raises(TypeError):
        getattr(Recorder(), name)(rolearn="arn")
    if any(p.default is p.empty for p in parameters(name)):
        with pytest.raises(TypeError):
            getattr(Recorder(), name)()


@each_call
async def test_no_coroutine_keeps_a_secret_in_a_local_variable_while_it_waits(
    operation: Operation[Any], name: str
) -> None:
    """T16: a traceback with local variables, raised anywhere below `send`, must not show an argument."""

    class Failing(Calls):
        async def send(self, request: Request[R]) -> R:
            raise ConnectionError

    secrets = {member.name for member in operation.request.__members__ if member.secret}
    given = {p.name: f"SENTINEL-{p.name}" for p in parameters(name) if p.name in secrets or p.default is p.empty}
    with pytest.raises(ConnectionError) as caught:
        await getattr(Failing(), name)(**given)

    shown = repr([frame.locals for frame in caught.traceback if frame.name == name])
    assert "'self'" in shown
    assert [secret for secret in secrets if f"SENTINEL-{secret}" in shown] == []


def test_a_wrong_argument_is_said_of_the_client() -> None:
    """E6: programs that come from boto3 pass RoleArn; `Calls` is no name that they know."""
    wrong: Any = {"RoleArn": "arn"}

    with pytest.raises(TypeError, match=r"^STSClient\.assume_role\(\) got an unexpected keyword argument 'RoleArn'"):
        Calls.assume_role(None, **wrong)  # type: ignore[arg-type]
