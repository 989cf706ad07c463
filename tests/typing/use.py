"""Typical use, type-checked and never run: what mypy and pyright say of it is what a user's editor says."""

# mypy warns about an ignore comment that is not needed, so each one below is a claim: here is an error.
# pyright: reportUnnecessaryTypeIgnoreComment=error

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, assert_type

import sts_async
from sts_async import (
    AssumeRoleProvider,
    AssumeRoleRequest,
    AssumeRoleResponse,
    AssumeRoleWithSAMLRequest,
    AssumeRoleWithSAMLResponse,
    AssumeRoleWithWebIdentityRequest,
    AssumeRoleWithWebIdentityResponse,
    AssumeRootRequest,
    AssumeRootResponse,
    Config,
    Credentials,
    CredentialsProvider,
    DecodeAuthorizationMessageRequest,
    DecodeAuthorizationMessageResponse,
    EnvironmentProvider,
    ExpiredTokenException,
    FederationTokenProvider,
    FrozenMap,
    GetAccessKeyInfoRequest,
    GetAccessKeyInfoResponse,
    GetCallerIdentityRequest,
    GetCallerIdentityResponse,
    GetDelegatedAccessTokenRequest,
    GetDelegatedAccessTokenResponse,
    GetFederationTokenRequest,
    GetFederationTokenResponse,
    GetScopedCredentialsRequest,
    GetScopedCredentialsResponse,
    GetSessionTokenRequest,
    GetSessionTokenResponse,
    GetWebIdentityTokenRequest,
    GetWebIdentityTokenResponse,
    NoRetries,
    Observer,
    OutgoingRequest,
    ParamValidationError,
    PolicyDescriptorType,
    PresignedUrl,
    ProvidedContext,
    Request,
    RequestHandler,
    Response,
    ResponseMetadata,
    RetryPolicy,
    Secret,
    ServiceError,
    SessionTokenProvider,
    StandardRetries,
    StaticProvider,
    STSClient,
    STSError,
    Tag,
    TemporaryCredentials,
    Transport,
    TrustedIdentityPropagationContext,
    WebIdentityProvider,
    errors,
    sigv4,
)
from sts_async.calls import Calls
from sts_async.credentials import ProcessProvider
from sts_async.observers import LoggingObserver, OpenTelemetryObserver, PrometheusObserver
from sts_async.operations import ASSUME_ROLE, Operation

R = TypeVar("R", bound=Response)

ARN = "arn:aws:iam::123456789012:role/demo"
HOUR = timedelta(hours=1)
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}


async def each_coroutine_returns_its_response(sts: STSClient) -> None:
    """The precise class, so that an editor completes its members."""
    assert_type(await sts.assume_role(role_arn=ARN, role_session_name="me"), AssumeRoleResponse)
    assert_type(
        await sts.assume_role_with_saml(role_arn=ARN, principal_arn=ARN, saml_assertion="..."),
        AssumeRoleWithSAMLResponse,
    )
    assert_type(
        await sts.assume_role_with_web_identity(role_arn=ARN, role_session_name="me", web_identity_token="..."),
        AssumeRoleWithWebIdentityResponse,
    )
    assert_type(
        await sts.assume_root(target_principal="123456789012", task_policy_arn=PolicyDescriptorType(arn=ARN)),
        AssumeRootResponse,
    )
    assert_type(await sts.decode_authorization_message(encoded_message="..."), DecodeAuthorizationMessageResponse)
    assert_type(await sts.get_access_key_info(access_key_id="AKIAIOSFODNN7EXAMPLE"), GetAccessKeyInfoResponse)
    assert_type(await sts.get_caller_identity(), GetCallerIdentityResponse)
    assert_type(await sts.get_delegated_access_token(trade_in_token="..."), GetDelegatedAccessTokenResponse)
    assert_type(await sts.get_federation_token(name="bob"), GetFederationTokenResponse)
    assert_type(await sts.get_scoped_credentials(policy=POLICY), GetScopedCredentialsResponse)
    assert_type(await sts.get_session_token(), GetSessionTokenResponse)
    assert_type(
        await sts.get_web_identity_token(audience=["api"], signing_algorithm="RS256"), GetWebIdentityTokenResponse
    )


async def a_map_of_a_response_is_read_like_a_dict(sts: STSClient) -> None:
    """Its keys are text, its values what the shape says, and it stays as it is."""
    response = await sts.assume_role_with_web_identity(role_arn=ARN, role_session_name="me", web_identity_token="...")
    context = response.trusted_identity_propagation_context
    assert_type(context, TrustedIdentityPropagationContext | None)
    if context and context.transaction_context and context.transaction_context.identity_provider:
        claims = context.transaction_context.identity_provider
        assert_type(claims, FrozenMap[str])
        assert_type(claims["department"], str)
        assert_type(claims.get("department"), str | None)
        assert_type(claims.get("department", 0), str | int)
        assert_type(dict(claims), dict[str, str])
        claims["department"] = "x"  # type: ignore[index]


async def send_returns_the_response_of_the_request(sts: STSClient) -> None:
    """Typed by the class of the request."""
    request = AssumeRoleRequest(role_arn=ARN, role_session_name="me")
    assert_type(await sts.send(request), AssumeRoleResponse)
    assert_type(
        await sts.send(AssumeRoleWithSAMLRequest(role_arn=ARN, principal_arn=ARN, saml_assertion="...")),
        AssumeRoleWithSAMLResponse,
    )
    assert_type(
        await sts.send(
            AssumeRoleWithWebIdentityRequest(role_arn=ARN, role_session_name="me", web_identity_token="...")
        ),
        AssumeRoleWithWebIdentityResponse,
    )
    task = PolicyDescriptorType(arn=ARN)
    assert_type(
        await sts.send(AssumeRootRequest(target_principal="123456789012", task_policy_arn=task)), AssumeRootResponse
    )
    assert_type(
        await sts.send(DecodeAuthorizationMessageRequest(encoded_message="...")), DecodeAuthorizationMessageResponse
    )
    assert_type(await sts.send(GetAccessKeyInfoRequest(access_key_id="...")), GetAccessKeyInfoResponse)
    assert_type(await sts.send(GetCallerIdentityRequest()), GetCallerIdentityResponse)
    assert_type(await sts.send(GetDelegatedAccessTokenRequest(trade_in_token="...")), GetDelegatedAccessTokenResponse)
    assert_type(await sts.send(GetFederationTokenRequest(name="bob")), GetFederationTokenResponse)
    assert_type(await sts.send(GetScopedCredentialsRequest(duration_seconds=60)), GetScopedCredentialsResponse)
    assert_type(await sts.send(GetSessionTokenRequest()), GetSessionTokenResponse)
    assert_type(
        await sts.send(GetWebIdentityTokenRequest(audience=["api"], signing_algorithm="RS256")),
        GetWebIdentityTokenResponse,
    )
    assert_type(sts.get_cached_response_metadata(request), ResponseMetadata | None)
    presigned = await sts.presign(GetCallerIdentityRequest(), expires=60)
    assert_type(presigned, PresignedUrl)
    assert_type(presigned.reveal(), Secret)
    await sts.send("GetCallerIdentity")  # type: ignore[arg-type]
    await sts.send(AssumeRoleResponse)  # type: ignore[arg-type]


async def a_generic_caller_keeps_the_type(sts: Calls) -> None:
    """Whatever has a `send` has the twelve coroutines."""

    async def twice(request: Request[R]) -> tuple[R, R]:
        return await sts.send(request), await sts.send(request)

    assert_type(await twice(GetCallerIdentityRequest()), tuple[GetCallerIdentityResponse, GetCallerIdentityResponse])


async def every_argument_of_the_widest_call(sts: STSClient) -> None:
    """Lists and tuples, text and mappings."""
    response = await sts.assume_role(
        role_arn=ARN,
        role_session_name="me",
        policy_arns=[PolicyDescriptorType(arn=ARN)],
        policy=POLICY,
        duration_seconds=900,
        tags=(Tag(key="k", value="v"),),
        transitive_tag_keys=["k"],
        external_id="id",
        serial_number="arn:aws:iam::123456789012:mfa/me",
        token_code="123456",
        source_identity="me",
        provided_contexts=[ProvidedContext(provider_arn=ARN, context_assertion="...")],
        minimum_session_token_size=4096,
    )
    await sts.assume_role(role_arn=ARN, role_session_name="me", policy='{"Version": "2012-10-17"}')
    await sts.assume_role(role_arn=ARN, role_session_name="me", policy=MappingProxyType(POLICY))
    assert_type(response.credentials, TemporaryCredentials)
    assert_type(response.packed_policy_size, int | None)
    assert_type(response.metadata.request_id, str | None)
    assert_type(response.metadata.headers, Mapping[str, str])
    if response.assumed_role_user is not None:
        assert_type(response.assumed_role_user.arn, str | None)


async def every_form_of_an_argument(sts: STSClient, tags: dict[str, str], arns: set[str], given: set[Tag]) -> None:
    """E3: what can be meant in one way only is taken: mappings for tags, texts for ARNs, any collection for a list."""
    await sts.assume_role(
        role_arn=ARN, role_session_name="me", tags={"team": "a"}, policy_arns=[ARN], duration_seconds=HOUR
    )
    await sts.assume_role(role_arn=ARN, role_session_name="me", tags=tags, policy_arns=arns)
    await sts.assume_role(role_arn=ARN, role_session_name="me", tags=given, transitive_tag_keys=tags.keys())
    await sts.assume_role(role_arn=ARN, role_session_name="me", tags=MappingProxyType(tags))
    await sts.assume_role_with_saml(
        role_arn=ARN, principal_arn=ARN, saml_assertion="...", policy_arns=(ARN,), duration_seconds=HOUR
    )
    await sts.assume_root(target_principal="123456789012", task_policy_arn=ARN, duration_seconds=HOUR)
    await sts.get_federation_token(name="bob", tags=tags, policy_arns=frozenset(arns), duration_seconds=HOUR)
    await sts.get_scoped_credentials(duration_seconds=HOUR)
    await sts.get_session_token(duration_seconds=HOUR)
    await sts.get_web_identity_token(audience={"api"}, signing_algorithm="RS256", tags=tags, duration_seconds=HOUR)
    AssumeRoleRequest(role_arn=ARN, role_session_name="me", tags=tags, policy_arns=arns, duration_seconds=HOUR)
    AssumeRoleProvider(role_arn=ARN, tags=tags, policy_arns=[ARN, PolicyDescriptorType(arn=ARN)], duration_seconds=HOUR)
    FederationTokenProvider(name="bob", tags=tags, policy_arns=arns, duration_seconds=HOUR)
    SessionTokenProvider(duration_seconds=HOUR)
    WebIdentityProvider(role_arn=ARN, token_file="token", policy_arns=[ARN], duration_seconds=HOUR)


async def mistakes_are_errors(sts: STSClient) -> None:
    """Before anything runs."""
    await sts.assume_role(role_arn=ARN)  # type: ignore[call-arg]
    await sts.assume_role(role_arn=ARN, role_session_name="me", rolearn=ARN)  # type: ignore[call-arg]
    await sts.assume_role(ARN, "me")  # type: ignore[call-arg]
    await sts.assume_role(role_arn=ARN, role_session_name="me", duration_seconds="900")  # type: ignore[arg-type]
    await sts.assume_role(role_arn=ARN, role_session_name="me", tags={"k": 5})  # type: ignore[arg-type]
    await sts.assume_role(role_arn=ARN, role_session_name="me", tags=[("k", "v")])  # type: ignore[list-item]
    await sts.assume_role(role_arn=ARN, role_session_name="me", policy_arns=[1])  # type: ignore[list-item]
    await sts.assume_role(role_arn=ARN, role_session_name="me", duration_seconds=1.5)  # type: ignore[arg-type]
    await sts.assume_role(role_arn=ARN, role_session_name="me", minimum_session_token_size=HOUR)  # type: ignore[arg-type]
    await sts.get_caller_identity(name="me")  # type: ignore[call-arg]
    AssumeRoleRequest(role_arn=ARN)  # type: ignore[call-arg]
    AssumeRoleRequest(role_arn=ARN, role_session_name="me", extra=1)  # type: ignore[call-arg]
    AssumeRoleRequest(ARN, "me")  # type: ignore[call-arg]
    AssumeRoleRequest(role_arn=ARN, role_session_name=5)  # type: ignore[arg-type]
    Tag(key="k")  # type: ignore[call-arg]
    Config(regoin="eu-west-1")  # type: ignore[call-arg]
    Config(sts_regional_endpoints="global")  # type: ignore[arg-type]
    STSClient(regoin="eu-west-1")  # type: ignore[call-arg]
    STSClient(credentials="AKIA")  # type: ignore[arg-type]


def requests_are_frozen(request: AssumeRoleRequest, credentials: Credentials) -> None:
    """For checkers as at run time."""
    request.role_arn = ARN  # type: ignore[misc]
    credentials.access_key_id = "AKIA"  # type: ignore[misc]


def members_have_the_types_that_were_declared(request: AssumeRoleRequest) -> None:
    """Not those of `Annotated`."""
    assert_type(request.role_arn, str)
    assert_type(request.duration_seconds, int | timedelta | None)
    assert_type(request.tags, Mapping[str, str] | Collection[Tag])
    assert_type(request.token_code, str | None)


def credentials_that_sts_returned_need_no_check_for_none(issued: TemporaryCredentials, any_: Credentials) -> None:
    """Token and expiration are there, and they are credentials like any other."""
    assert_type(issued.session_token, str)
    assert_type(issued.expiration, datetime)
    assert_type(any_.session_token, str | None)
    assert_type(any_.expiration, datetime | None)
    assert_type(any_.is_expired(now=datetime.now(UTC)), bool)
    STSClient(region="eu-west-1", credentials=issued)
    TemporaryCredentials(access_key_id="A", secret_access_key="k", session_token="t", expiration=datetime.now(UTC))
    TemporaryCredentials(access_key_id="A", secret_access_key="k")  # type: ignore[call-arg]
    Credentials(access_key_id="A", secret_access_key="k")


class MyProvider:
    """A source of credentials needs one coroutine and no base class."""

    async def provide_credentials(self, transport: Transport) -> Credentials:
        """Return credentials."""
        return Credentials(access_key_id="A", secret_access_key="k")


class NotAProvider:
    """The coroutine has another name."""

    async def load(self) -> Credentials:
        """Return credentials."""
        return Credentials(access_key_id="A", secret_access_key="k")


class MyRetries(StandardRetries):
    """A policy can change one decision."""

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return the delay."""
        if isinstance(error, ExpiredTokenException):
            return None
        return super().after_failure(error, scope=scope, attempt=attempt, now=now, jitter=jitter)


async def what_a_client_is_made_of() -> None:
    """Every seam takes what keeps its protocol."""
    config = Config(region="eu-west-1", max_attempts=5, sts_regional_endpoints="legacy")
    providers: list[CredentialsProvider] = [
        EnvironmentProvider(),
        StaticProvider(Credentials(access_key_id="A", secret_access_key="k")),
        MyProvider(),
    ]
    policies: list[RetryPolicy] = [NoRetries(), StandardRetries(max_attempts=2), MyRetries()]
    for provider in providers:
        for policy in policies:
            async with STSClient(config=config, credentials=provider, retries=policy) as sts:
                assert_type(sts, STSClient)
                assert_type(sts.region, str | None)
                assert_type(sts.endpoint_url, str | None)
    STSClient(region="eu-west-1", credentials=NotAProvider())  # type: ignore[arg-type]
    STSClient(region="eu-west-1", retries=object())  # type: ignore[arg-type]


class HasIdentity(Protocol):
    """What a service of a user asks of a client, so that it can be replaced in tests."""

    def get_caller_identity(self) -> Awaitable[GetCallerIdentityResponse]:
        """Return who calls."""
        ...


def a_client_keeps_a_protocol_of_the_user(sts: STSClient) -> HasIdentity:
    """Structurally."""
    return sts


async def errors_have_attributes(sts: STSClient) -> str:
    """Caught by class, asked by attribute."""
    try:
        await sts.get_caller_identity()
    except errors.ThrottlingError as error:
        assert_type(error.code, str)
        assert_type(error.fault, errors.Fault)
        return error.request_id or ""
    except ParamValidationError as error:
        assert_type(error.violations, tuple[str, ...])
    except ServiceError as error:
        assert_type(error.status, int)
    except STSError as error:
        assert_type(error.retryable, bool)
        assert_type(error.attempts, int)
    return ""


def any_service_can_be_signed(credentials: Credentials) -> None:
    """Headers in, headers out; or a URL."""
    at = datetime.now(UTC)
    headers = sigv4.sign(
        credentials, method="GET", url="https://h/", headers={"a": "b"}, service="s3", region="eu-west-1", at=at
    )
    assert_type(headers, dict[str, str])
    url = sigv4.presign(credentials, url="https://h/", service="s3", region="eu-west-1", at=at, expires=60)
    assert_type(url, PresignedUrl)
    sigv4.sign(credentials, method="GET", url="https://h/", headers={}, service="s3", region="r")  # type: ignore[call-arg]


def the_table_is_typed() -> None:
    """By the response."""
    assert_type(ASSUME_ROLE, Operation[AssumeRoleResponse])
    assert_type(ASSUME_ROLE.response, type[AssumeRoleResponse])
    versions: list[str] = [sts_async.__version__]
    assert versions


def a_misspelt_name_is_an_error() -> Any:
    """The package's own `__getattr__` must not make every name an Any."""
    return sts_async.STSCleint  # type: ignore[attr-defined]


class Gateway(RequestHandler):
    """Both methods, with their types."""

    def before_signing(self, outgoing: OutgoingRequest) -> Mapping[str, str]:
        """Add a header."""
        assert_type(outgoing.operation, str)
        assert_type(outgoing.region, str | None)
        assert_type(outgoing.headers, Mapping[str, str])
        return {"x-attempt": str(outgoing.attempt)}

    def after_attempt(self, outgoing: OutgoingRequest, outcome: Response | STSError) -> None:
        """Tell responses from errors."""
        if not isinstance(outcome, STSError):
            assert_type(outcome.metadata.status, int)


async def calls_are_observed_and_handled(sts: STSClient, logger: logging.Logger) -> None:
    """By a client, and by a view of it."""
    observers: list[Observer] = [LoggingObserver(logger), OpenTelemetryObserver(), PrometheusObserver()]
    STSClient(observers=observers, config=Config(handlers=[Gateway()], signing_region="eu-west-1", signing_name="sts"))
    view = sts.with_options(handlers=[Gateway()], observers=observers[:1], headers={"a": "b"}, deadline=2)
    assert_type(await view.get_caller_identity(), GetCallerIdentityResponse)
    assert_type(await view.presign(GetCallerIdentityRequest()), PresignedUrl)
    assert_type(await view.get_credentials(), Credentials)
    assert_type(await view.presign(GetCallerIdentityRequest(), expires=timedelta(minutes=1)), PresignedUrl)
    config = Config(deadline=timedelta(seconds=9), connect_timeout=HOUR, ec2_metadata_timeout=None, attempt_timeout=5)
    assert_type((config.deadline, config.connect_timeout), tuple[float, float | None])
    ProcessProvider("helper", seconds=timedelta(seconds=5))
    assert_type(view.with_options(deadline=timedelta(seconds=1)), STSClient)
    assert_type(view.with_options(deadline=1).role("arn:aws:iam::123456789012:role/demo"), STSClient)
    takes_a_client: Callable[[STSClient], None] = print
    takes_a_client(view)
    sts.with_options(handlers=[object()])  # type: ignore[list-item]
    STSClient(observers=[1])  # type: ignore[list-item]
