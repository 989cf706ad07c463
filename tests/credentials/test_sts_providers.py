"""The common part of all sources that call STS: their arguments, the questions they ask, and their secrets."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, get_type_hints

import attrs
import pytest
from patience import turns
from support import KEYS, ROLE, Answering, form_of, shown_as
from test_calls import bare

from sts_async import errors
from sts_async._config import profile_plans
from sts_async._engine.loop import Engine
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._shape.secret import Secret
from sts_async.credentials import _schedule
from sts_async.credentials._sts_providers import IssuedProvider, NoSigner, SignedProvider
from sts_async.credentials.assume_role import AssumeRoleProvider
from sts_async.credentials.cache import CachingProvider
from sts_async.credentials.chain import ProviderChain
from sts_async.credentials.environment import EnvironmentProvider
from sts_async.credentials.federation_token import FederationTokenProvider
from sts_async.credentials.profile import ProfileProvider, _Current
from sts_async.credentials.saml import SAMLProvider
from sts_async.credentials.session_token import SessionTokenProvider
from sts_async.credentials.web_identity import WebIdentityProvider
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials, ProvidedContext

Lend = Callable[..., Engine]

SERIAL = "arn:aws:iam::123456789012:mfa/me"
CODE = "739154"

# Beside the members of their requests: arguments of their own, members that those replace, members with a default.
PROVIDERS: dict[type[IssuedProvider], tuple[set[str], set[str], set[str]]] = {
    AssumeRoleProvider: (
        {"source", "mfa_code", "allowed_accounts", "strict_arns"},
        {"token_code"},
        {"role_session_name"},
    ),
    WebIdentityProvider: ({"token_file", "token", "strict_arns"}, {"web_identity_token"}, {"role_session_name"}),
    SAMLProvider: ({"assertion", "strict_arns"}, {"saml_assertion"}, set()),
    SessionTokenProvider: ({"source", "mfa_code"}, {"token_code"}, set()),
    FederationTokenProvider: ({"source"}, set(), set()),
}
each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda cls: cls.__name__)


async def ask_for_code(serial_number: str) -> str:
    return CODE


async def ask_for_token() -> str:
    return "SENTINEL.web-identity.token"


async def ask_for_assertion() -> str:
    return "SENTINEL-saml-assertion"


async def unasked(*_: Any) -> Any:
    pytest.fail("was asked in vain")


ASKING: dict[str, Any] = {
    "mfa_code": partial(AssumeRoleProvider, role_arn=ROLE, source=KEYS, role_session_name="me", serial_number=SERIAL),
    "mfa_code of a session token": partial(SessionTokenProvider, source=KEYS, serial_number=SERIAL),
    "token": partial(WebIdentityProvider, role_arn=ROLE),
    "assertion": partial(SAMLProvider, role_arn=ROLE, principal_arn="arn:aws:iam::123456789012:saml-provider/Corp"),
}
ANSWERS: dict[str, Callable[..., Awaitable[str]]] = {
    "mfa_code": ask_for_code,
    "token": ask_for_token,
    "assertion": ask_for_assertion,
}
each_question = pytest.mark.parametrize("question", ASKING)


def asking(question: str, function: Any = None) -> IssuedProvider:
    """Return a provider that calls *function*."""
    name = question.partition(" ")[0]
    provider: IssuedProvider = ASKING[question](**{name: function or ANSWERS[name]})
    return provider


def parameters(provider: type) -> dict[str, inspect.Parameter]:
    return dict([*inspect.signature(provider).parameters.items()])


@each_provider
def test_a_provider_accepts_all_members_of_its_request(provider: type[IssuedProvider]) -> None:
    """Names, defaults and types are equal, so a member of a later version of the API cannot be forgotten."""
    own, replaced, defaulted = PROVIDERS[provider]
    fields = {field.name: field for field in attrs.fields(provider.operation.request)}  # type: ignore[arg-type]
    hints = get_type_hints(provider.__init__, include_extras=True)
    members = get_type_hints(provider.operation.request, include_extras=True)
    taken = {name: p for name, p in parameters(provider).items() if name not in own}

    assert {p.kind for p in parameters(provider).values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert taken.keys() == fields.keys() - replaced
    for name, parameter in taken.items():
        if name in defaulted:
            assert parameter.default is None
            assert bare(hints[name]) == frozenset({bare(members[name]), type(None)})
        else:
            default = attrs.NOTHING if parameter.default is parameter.empty else parameter.default

            assert default == fields[name].default
            assert bare(hints[name]) == bare(members[name])


@each_provider
def test_a_docstring_explains_every_argument_and_its_limits(provider: type[IssuedProvider]) -> None:
    """The docstring of the operation does so too."""
    text = (inspect.getdoc(provider) or "").partition("Args:\n")[2].partition("\nRaises:")[0]
    explained = dict(re.findall(r"^    (\w+): ((?:.*\n)(?:     .*\n)*)", text + "\n", re.MULTILINE))

    assert [*explained] == [*parameters(provider)]
    for member in provider.operation.request.__members__:
        for constraint in member.constraints if member.name in explained else ():
            most = getattr(constraint, "most", None)

            assert most is None or f"{most:,}" in explained[member.name], member.name


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (
            partial(AssumeRoleProvider, role_arn="short", role_session_name="a b", source=unasked, strict_arns=False),
            ["role_arn", "role_session_name"],
        ),
        (partial(AssumeRoleProvider, role_arn=ROLE, source=unasked, duration_seconds=1), ["duration_seconds"]),
        (
            partial(AssumeRoleProvider, role_arn=ROLE, source=unasked, serial_number="x", mfa_code=unasked),
            ["serial_number"],
        ),
        (partial(WebIdentityProvider, role_arn=ROLE, token=unasked, provider_id="x"), ["provider_id"]),
        (
            partial(SAMLProvider, role_arn=ROLE, principal_arn="x", assertion=unasked, strict_arns=False),
            ["principal_arn"],
        ),
        (partial(SessionTokenProvider, source=unasked, duration_seconds=899), ["duration_seconds"]),
        (partial(FederationTokenProvider, source=unasked, name="x" * 33, policy=""), ["name", "policy"]),
    ],
)
async def test_a_value_out_of_bounds_is_refused_by_the_first_fetch_before_any_question(
    make: Callable[[], IssuedProvider], broken: list[str], lend: Lend
) -> None:
    """C12: one error lists all. No source, person or identity provider is asked, and nothing is sent."""
    answering = Answering()
    with pytest.raises(errors.ParamValidationError) as caught:
        await make().fetch(lend(transport=answering))

    assert {line.split()[0] for line in caught.value.violations} == {*broken}
    assert answering.sent == []


@pytest.mark.parametrize("seconds", [3, 604_800, timedelta(days=7)], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        partial(AssumeRoleProvider, role_arn=ROLE, source=KEYS),
        partial(WebIdentityProvider, role_arn=ROLE, token=ask_for_token),
        partial(
            SAMLProvider,
            role_arn=ROLE,
            principal_arn="arn:aws:iam::123456789012:saml-provider/idp",
            assertion=ask_for_assertion,
        ),
        partial(SessionTokenProvider, source=KEYS),
        partial(FederationTokenProvider, name="bob", source=KEYS),
    ],
    ids=lambda make: make.func.__name__,
)
async def test_the_client_decides_whether_bounds_are_checked(
    make: Callable[..., IssuedProvider], seconds: Any, lend: Lend
) -> None:
    """C12: other servers have other bounds, and a provider does not know its server."""
    provider, answering = make(duration_seconds=seconds), Answering()
    with pytest.raises(errors.ParamValidationError, match="duration_seconds must be 900 to"):
        await provider.fetch(lend(transport=answering))
    assert answering.sent == []

    await provider.fetch(lend(transport=answering, validate=False))
    number = seconds if isinstance(seconds, int) else 604_800
    assert [form_of(request)["DurationSeconds"] for request in answering.sent] == [str(number)]


@pytest.mark.parametrize(
    ("make", "broken"),
    [
        (partial(AssumeRoleProvider, role_arn=ROLE, role_session_name=5), ["role_session_name"]),
        (partial(AssumeRoleProvider, role_arn=ROLE, tags="a", policy={"x": {1}}), ["policy", "tags"]),
        (partial(WebIdentityProvider, role_arn=None, token=ask_for_token), ["role_arn"]),
        (partial(SAMLProvider, role_arn=ROLE, principal_arn=1, assertion=ask_for_assertion), ["principal_arn"]),
        (partial(SessionTokenProvider, duration_seconds="900"), ["duration_seconds"]),
        (partial(FederationTokenProvider, name="bob", policy_arns=[5]), ["policy_arns[0]"]),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_the_constructor(
    make: Callable[[], IssuedProvider], broken: list[str]
) -> None:
    """One error lists all of them, because no client could use them."""
    with pytest.raises(errors.ParamValidationError) as caught:
        make()

    assert [line.split()[0] for line in caught.value.violations] == broken


async def test_a_policy_that_is_changed_later_is_not_sent(lend: Lend) -> None:
    """A request is an immutable value."""
    policy = {"Version": "2012-10-17", "Statement": []}
    answering = Answering()
    provider = FederationTokenProvider(name="bob", source=KEYS, policy=policy)
    policy["Statement"] = ["anything"]

    await provider.fetch(lend(transport=answering))

    assert answering.sent[0].body.count(b"anything") == 0


@each_question
async def test_no_traceback_with_local_variables_shows_a_secret(question: str, lend: Lend) -> None:
    """T16, T44, T46: codes, tokens and assertions are hidden as soon as they arrive."""

    class Failing:
        async def send(self, request: HttpRequest) -> HttpResponse:
            raise errors.ConnectionLost("gone")

    with pytest.raises(errors.ConnectionLost) as caught:
        await asking(question).fetch(lend(transport=Failing()))

    shown = repr([frame.locals for frame in caught.traceback if "sts_async" in str(frame.path)])
    assert "AssumeRoleProvider" in shown or "'self'" in shown
    assert "SENTINEL" not in shown
    assert CODE not in shown


@each_question
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "must return text, not a NoneType"),
        (b"SENTINEL", "must return text, not a SecretBytes"),
        (["SENTINEL"], "must return text, not a list"),
        (ask_for_code, "must return text, not a function"),
    ],
    ids=shown_as,
)
async def test_a_result_that_is_not_text_is_refused_without_its_value(
    question: str, answer: Any, message: str, context: Engine
) -> None:
    async def wrong(*arguments: str) -> Any:
        return answer

    with pytest.raises(errors.CredentialsError, match=message) as caught:
        await asking(question, wrong).fetch(context)

    assert not isinstance(caught.value, errors.CredentialsNotFound)
    assert "SENTINEL" not in repr([frame.locals for frame in caught.traceback if "sts_async" in str(frame.path)])


@each_question
async def test_a_returned_coroutine_is_refused_and_closed(question: str, context: Engine) -> None:
    """Otherwise Python would warn later, at an unrelated place."""

    async def forgetful(*arguments: str) -> Any:
        return ask_for_token()

    with pytest.raises(errors.CredentialsError, match="must return text, not a coroutine"):
        await asking(question, forgetful).fetch(context)


@each_question
@pytest.mark.parametrize("answer", ["SENTINEL", None, ["SENTINEL"]], ids=repr)
async def test_a_plain_function_is_refused_without_its_value(question: str, answer: Any, context: Engine) -> None:
    """It would block the event loop while a person types."""
    with pytest.raises(errors.CredentialsError, match="must be a coroutine function") as caught:
        await asking(question, lambda *arguments: answer).fetch(context)

    assert "SENTINEL" not in repr([frame.locals for frame in caught.traceback if "sts_async" in str(frame.path)])


@each_question
@pytest.mark.parametrize("given", ["123456", dict], ids=repr)
def test_an_invalid_function_is_refused_by_the_constructor(question: str, given: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"must be a coroutine function, not (a str|dict)$"):
        asking(question, given)


@each_question
async def test_an_unknown_error_becomes_a_credentials_error(question: str, context: Engine) -> None:
    """Cached credentials then stay in use. The text of the error is not shown, because it may contain a secret."""

    async def failing(*arguments: str) -> str:
        raise OSError("keyboard gone")

    with pytest.raises(errors.CredentialsError, match=r"failed with OSError$") as caught:
        await asking(question, failing).fetch(context)

    assert isinstance(caught.value.__cause__, OSError)


@each_question
async def test_an_error_of_the_library_passes_but_never_as_not_configured(question: str, context: Engine) -> None:
    """A chain continues after CredentialsNotFound, and would use another identity."""

    async def login(*arguments: str) -> str:
        raise errors.LoginRequired("sign in again")

    async def nothing(*arguments: str) -> str:
        raise errors.CredentialsNotFound("no device")

    with pytest.raises(errors.LoginRequired):
        await asking(question, login).fetch(context)
    with pytest.raises(errors.CredentialsError, match="no device") as caught:
        await asking(question, nothing).fetch(context)

    assert not isinstance(caught.value, errors.CredentialsNotFound)


@each_question
async def test_cancelling_reaches_the_question(question: str, context: Engine) -> None:
    """F58."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: str) -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    task = asyncio.create_task(asking(question, slow).fetch(context))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended.is_set()


@each_question
async def test_any_callable_that_returns_an_awaitable_can_be_asked(question: str, lend: Lend) -> None:
    """Examples are ``lambda serial: asyncio.to_thread(getpass, ...)``, a partial, and an object."""

    class Device:
        async def __call__(self, *arguments: str) -> str:
            return CODE

    def in_a_thread(*arguments: str) -> Awaitable[str]:
        return asyncio.to_thread(lambda: CODE)

    for function in (in_a_thread, partial(ask_for_code, SERIAL) if "mfa" not in question else ask_for_code, Device()):
        answering = Answering()

        await asking(question, function).fetch(lend(transport=answering))

        assert answering.sent[0].body.count(CODE.encode()) == 1


# -- the source ---------------------------------------------------------------------------------------------------

SOURCED: dict[str, Callable[..., SignedProvider]] = {
    "AssumeRoleProvider": partial(AssumeRoleProvider, role_arn=ROLE),
    "SessionTokenProvider": SessionTokenProvider,
    "FederationTokenProvider": partial(FederationTokenProvider, name="bob"),
}
each_sourced = pytest.mark.parametrize("make", SOURCED.values(), ids=SOURCED)


class Sourced:
    """A source that returns its outcomes in turn and repeats the last one."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = outcomes
        self.contexts: list[ProviderContext] = []
        self.invalidated: list[str] = []

    async def provide_credentials(self, context: ProviderContext) -> Any:
        self.contexts.append(context)
        outcome = self.outcomes[min(len(self.contexts), len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def invalidate(self, access_key_id: str) -> None:
        self.invalidated.append(access_key_id)


async def keys() -> Credentials:
    return KEYS


@each_sourced
@pytest.mark.parametrize("source", [KEYS, Sourced(KEYS), keys], ids=["credentials", "provider", "function"])
async def test_the_source_signs(make: Callable[..., SignedProvider], source: Any, lend: Lend) -> None:
    answering = Answering()

    await make(source=source).fetch(lend(transport=answering, credentials=NoSigner()))

    assert f"Credential={KEYS.access_key_id}/" in answering.sent[0].headers["authorization"]


@each_sourced
@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (
            errors.CredentialsNotFound("X is not set"),
            r"^the source of \w+Provider\(.*\) has no credentials: X is not set$",
        ),
        (OSError("disk"), r"^the source of \w+Provider\(.*\) failed with OSError$"),
        ({"secret_access_key": "SENTINEL"}, r"^the source of \w+Provider\(.*\) returned a dict, not Credentials$"),
    ],
    ids=["nothing", "failing", "wrong"],
)
async def test_a_source_without_credentials_is_a_failure_of_the_provider(
    make: Callable[..., SignedProvider], outcome: Any, message: str, context: Engine
) -> None:
    """A chain must stop there, and not continue with another identity."""
    with pytest.raises(errors.CredentialsError, match=message) as caught:
        await make(source=Sourced(outcome)).provide_credentials(context)

    assert type(caught.value) is errors.CredentialsError


@each_sourced
@pytest.mark.parametrize("source", ["profile", 3, Credentials, {"access_key_id": "SENTINEL"}], ids=repr)
def test_an_invalid_source_is_refused_by_the_constructor(make: Callable[..., SignedProvider], source: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"^source must be Credentials"):
        make(source=source)


async def test_the_source_gets_the_context_of_the_client(lend: Lend) -> None:
    """With the context of the signed call, the source of a role with MFA would have no retries."""
    source = Sourced(KEYS)
    context = lend(transport=Answering())

    await AssumeRoleProvider(role_arn=ROLE, source=source).fetch(context)
    await AssumeRoleProvider(role_arn=ROLE, source=source, serial_number=SERIAL, mfa_code=ask_for_code).fetch(context)

    assert source.contexts == [context, context]


OTHER = Credentials(access_key_id="AKIAOTHEREXAMPLE", secret_access_key="SENTINEL-other")


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
async def test_a_source_with_a_refused_key_is_asked_for_another_one_once(code: str, lend: Lend) -> None:
    """F16: only the service knows that a session has ended early."""
    refusing = Answering(f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>", 403)
    source = Sourced(KEYS, OTHER)

    with pytest.raises(errors.ServiceError, match=code):
        await AssumeRoleProvider(role_arn=ROLE, source=source).fetch(lend(transport=refusing))

    assert source.invalidated == [KEYS.access_key_id]
    assert [re.findall(r"Credential=(\w+)/", sent.headers["authorization"])[0] for sent in refusing.sent] == [
        KEYS.access_key_id,
        OTHER.access_key_id,
    ]


@pytest.mark.parametrize(
    ("code", "source"),
    [("AccessDenied", Sourced(KEYS, OTHER)), ("ExpiredToken", Sourced(KEYS)), ("ExpiredToken", KEYS)],
    ids=["other error", "same key", "static"],
)
async def test_an_error_that_another_key_cannot_fix_is_not_retried(code: str, source: Any, lend: Lend) -> None:
    """F16, F18."""
    refusing = Answering(f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>", 403)

    with pytest.raises(errors.ServiceError, match=code):
        await AssumeRoleProvider(role_arn=ROLE, source=source).fetch(lend(transport=refusing))

    assert len(refusing.sent) == 1


def attended_role(asked: list[float], clocks: Any) -> AssumeRoleProvider:
    """Return a role with an MFA device; *asked* collects the times of its questions."""

    async def code(serial_number: str) -> str:
        asked.append(clocks.monotonic)
        return f"{len(asked):06}"

    return AssumeRoleProvider(role_arn=ROLE, source=KEYS, serial_number=SERIAL, mfa_code=code)


def of_a_profile(attended: AssumeRoleProvider) -> ProfileProvider:
    """Return a profile provider that uses this role."""
    provider = ProfileProvider()
    provider._current = _Current(profile_plans.ProcessPlan(command=Secret("x")), attended)
    provider._look_again_at = float("inf")
    return provider


SOURCES_THAT_ASK: dict[str, Callable[[AssumeRoleProvider], Any]] = {
    "role": lambda attended: attended,
    "role of a role": lambda attended: AssumeRoleProvider(role_arn=ROLE, source=attended),
    "chain": ProviderChain,
    "chain that has it as its second": lambda attended: ProviderChain(EnvironmentProvider({}), attended),
    "profile": of_a_profile,
    "chain with a profile": lambda attended: ProviderChain(of_a_profile(attended)),
}


@pytest.mark.parametrize("kind", SOURCES_THAT_ASK)
@each_sourced
async def test_no_code_is_asked_for_in_the_background(
    make: Callable[..., SignedProvider], kind: str, lend: Lend, clocks: Any
) -> None:
    """T46: a provider whose source has an MFA device is also refreshed only while a caller waits."""
    asked: list[float] = []
    answering = Answering()  # with sessions that end after an hour
    context = lend(transport=answering)
    provider = make(source=SOURCES_THAT_ASK[kind](attended_role(asked, clocks)))
    first = await provider.provide_credentials(context)
    sent = len(answering.sent)
    clocks.advance(3539)

    assert await provider.provide_credentials(context) is first
    await turns()
    assert not context.tasks._running
    assert len(answering.sent) == sent
    assert len(asked) == 1
    assert provider.schedule == _schedule.ATTENDED


def test_an_attended_source_is_recognized_by_the_constructor(clocks: Any) -> None:
    """T46."""
    attended = attended_role([], clocks)

    assert AssumeRoleProvider(role_arn=ROLE, source=attended).schedule == _schedule.ATTENDED
    assert AssumeRoleProvider(role_arn=ROLE, source=ProviderChain(KEYS, attended)).schedule == _schedule.ATTENDED
    assert AssumeRoleProvider(role_arn=ROLE, source=ProviderChain(KEYS)).schedule == _schedule.STANDARD
    assert AssumeRoleProvider(role_arn=ROLE, source=CachingProvider(attended)).schedule == _schedule.ATTENDED
    assert AssumeRoleProvider(role_arn=ROLE, source=ProfileProvider()).schedule == _schedule.STANDARD


class AsksForAPin:
    """A provider of the program that asks a person, and reports it."""

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        return True

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        return KEYS


def test_a_provider_of_the_program_can_report_that_it_asks_a_person() -> None:
    """T46: the role that it signs for is then refreshed only while a caller waits."""
    assert AssumeRoleProvider(role_arn=ROLE, source=AsksForAPin()).schedule == _schedule.ATTENDED
    assert AssumeRoleProvider(role_arn=ROLE, source=ProviderChain(KEYS, AsksForAPin())).schedule == _schedule.ATTENDED


async def test_a_call_that_is_not_signed_never_asks_for_credentials(lend: Lend) -> None:
    """Otherwise a default chain would wait for itself for ever."""
    for question in ("token", "assertion"):
        answering = Answering()

        await asking(question).fetch(lend(transport=answering, credentials=NoSigner()))

        assert "authorization" not in answering.sent[0].headers
    with pytest.raises(errors.CredentialsError, match="not signed"):
        await NoSigner().provide_credentials(lend())


@pytest.mark.parametrize("question", ["mfa_code", "token", "assertion"])
@pytest.mark.parametrize(
    ("region", "host", "partition", "refused"),
    [
        ("us-east-1", "sts.us-east-1.amazonaws.com", "aws-cn", True),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn", "aws", True),
        ("us-gov-west-1", "sts.us-gov-west-1.api.aws", "aws", True),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn", "aws-cn", False),
        ("us-east-1", "sts.us-east-1.amazonaws.com", "aws-new", False),
        ("us-east-1", "minio.example", "aws-cn", False),
    ],
)
async def test_a_role_of_another_partition_is_refused_before_anything_is_sent(
    question: str, region: str, host: str, partition: str, refused: bool, lend: Lend
) -> None:
    """Partitions of AWS are separate. Other servers have other ARNs."""
    answering = Answering()
    context = lend(f"https://{host}/", region=region, transport=answering)
    name = question.partition(" ")[0]
    make = ASKING[question]
    arn = ROLE.replace("arn:aws:", f"arn:{partition}:")
    provider = make.func(**{**make.keywords, "role_arn": arn, name: ANSWERS[name]})

    if refused:
        with pytest.raises(errors.ConfigurationError, match=f"a role of the partition {partition} cannot be assumed"):
            await provider.fetch(context)
    else:
        await provider.fetch(context)

    assert len(answering.sent) == (not refused)


@pytest.mark.parametrize(
    ("provider", "name", "shown"),
    [
        (AssumeRoleProvider(role_arn=ROLE, source=KEYS), f"role '{ROLE}'", f"AssumeRoleProvider('{ROLE}')"),
        (asking("token"), f"web identity, role '{ROLE}'", f"WebIdentityProvider('{ROLE}')"),
        (asking("assertion"), f"SAML, role '{ROLE}'", f"SAMLProvider('{ROLE}')"),
        (SessionTokenProvider(source=KEYS), "session token", "SessionTokenProvider()"),
        (FederationTokenProvider(name="bob"), "federated user 'bob'", "FederationTokenProvider('bob')"),
    ],
    ids=repr,
)
def test_the_repr_of_a_provider_is_one_line_without_secrets(provider: IssuedProvider, name: str, shown: str) -> None:
    """T45: an ARN with line breaks, which could forge log lines, is refused (G11)."""
    assert provider.name == name
    assert repr(provider) == shown


def test_a_context_assertion_is_not_shown() -> None:
    """T15."""
    context = ProvidedContext(provider_arn=ROLE, context_assertion="SENTINEL-context")
    provider = AssumeRoleProvider(role_arn=ROLE, source=KEYS, provided_contexts=[context])

    assert "SENTINEL" not in repr(vars(provider))


async def test_without_default_credentials_a_source_is_required(lend: Callable[..., Engine]) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"needs source=\.\.\."):
        await AssumeRoleProvider(role_arn=ROLE).provide_credentials(lend(default_credentials=None))
