"""The options of calls: which of them a view changes, and how they add up."""

import inspect
from typing import Any

import attrs
import pytest
from support import KEYS

from sts_async import NoRetries, RequestHandler, StaticProvider, STSClient
from sts_async._engine.call_options import COMBINED, CallOptions

OF_VIEWS = {"region" if name == "endpoint" else name for name in COMBINED}
"""The names that `with_options` has for the options of calls that views may change."""


def test_each_option_that_views_may_change_is_a_keyword_of_with_options() -> None:
    """A new option of calls is one field; one that a view cannot be given would have no effect there."""
    parameters = inspect.signature(STSClient.with_options).parameters

    assert {*parameters} - {"self"} == OF_VIEWS
    assert {*COMBINED} | {"no_endpoint"} == {field.name for field in attrs.fields(CallOptions)}


@pytest.mark.parametrize("name", sorted(OF_VIEWS))
def test_each_option_of_views_is_described_where_users_look(name: str) -> None:
    described = inspect.getdoc(STSClient.with_options) or ""

    assert f"\n    {name}: " in described


VALUES: dict[str, Any] = {
    "credentials": KEYS,
    "headers": {"x-a": "1"},
    "deadline": 3.5,
    "retries": NoRetries(),
    "region": "eu-west-3",
    "observers": [print],
    "handlers": [RequestHandler()],
}


@pytest.mark.parametrize("name", sorted(OF_VIEWS))
async def test_each_option_of_a_view_reaches_its_calls(name: str) -> None:
    """It changes the options of its calls in one field, and those of its client in none."""
    async with STSClient(region="us-east-1", credentials=StaticProvider(KEYS), retries=NoRetries()) as sts:
        before = (await sts._life.ready())._options
        engine, _ = await sts.with_options(**{name: VALUES[name]})._ready()
        after = engine._options
        field = "endpoint" if name == "region" else name
        differs = {one.name for one in attrs.fields(CallOptions) if not same(before, after, one.name)}

        assert differs == {field}
        assert (await sts._life.ready())._options is before


def same(one: CallOptions, other: CallOptions, name: str) -> bool:
    return getattr(one, name) is getattr(other, name) or getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("name", sorted({*COMBINED} - {"endpoint"}))
def test_a_view_of_a_view_adds_to_it_or_replaces(name: str) -> None:
    """Observers, handlers and headers add up, in the order of the views; of all others the last counts."""
    options = CallOptions(endpoint=None, credentials=StaticProvider(KEYS), retries=NoRetries())
    first, second = ({"x-a": "1"}, {"x-b": "2"}) if name == "headers" else (("a",), ("b",))
    both = getattr(options.changed(**{name: first}).changed(**{name: second}), name)

    if name == "headers":
        assert both == {**options.headers, "x-a": "1", "x-b": "2"}
    else:
        assert both == (("a", "b") if name in {"observers", "handlers"} else ("b",))
