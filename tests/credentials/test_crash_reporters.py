"""
Crash reporters with default settings show no secret argument in any frame of the library.

Each public function and constructor with a secret argument is called so that it raises. The frames of the tests are
left out, because they contain the secret that the test searches for.
"""

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from reporters import REPORTERS
from support import KEYS, ROLE

import sts_async
from sts_async import Config, Credentials, STSClient, sigv4
from sts_async import credentials as sources
from sts_async._protocol.proxies import Proxies, ProxySetting
from sts_async.config import SettingsSources
from sts_async.errors import STSError

SECRET = "SENTINEL-" + "0123456789abcdef" * 20
"""Long enough that each reporter cuts it. A part of eight characters would already be too much."""
LOGIN_URL = f"https://user:{SECRET}@h.example/"
HEADERS = {"x-api-key": SECRET, "bad name": "x"}
DATA = {"AccessKeyId": "AKIA", "SecretAccessKey": SECRET}
"""What boto3 calls credentials: given in place of a `Credentials` by mistake."""
ENVIRON = {"AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET}
AT = datetime(2026, 1, 1, tzinfo=UTC)
SIGNED = {"method": "GET", "url": "https://h/", "service": "sts", "region": "eu-west-1"}
UNENCODABLE = f"{SECRET}\udc80"
SSO = {"account_id": "1", "role_name": "demo", "region": "us-east-1", "session_name": "corp"}
LOGIN = {"login_session": "arn:aws:iam::123456789012:user/me", "region": "us east"}
KEYLESS = Credentials(access_key_id="AKIA", secret_access_key=UNENCODABLE, session_token=SECRET)


def client(**options: Any) -> STSClient:
    return STSClient(**{"region": "eu-west-1", "credentials": KEYS, **options})


async def gives_data() -> Any:
    return DATA


async def of_data(context: Any) -> Any:
    return await sources.CachingProvider(gives_data).provide_credentials(context)


async def in_fleet(use: Callable[[Any], Any]) -> None:
    async with client() as sts, sts_async.CredentialsFleet(sts) as fleet:
        used = use(fleet)
        if inspect.isawaitable(used):
            await used


CHAINED = sts_async.ChainedRequest(sts_async.GetSessionTokenRequest(), source=DATA)  # type: ignore[arg-type]
PLACES: dict[str, Callable[..., Any]] = {
    "Config(proxy)": lambda: Config(proxy=f"gopher://u:{SECRET}@h"),
    "Config(proxy), and another option is wrong": lambda: Config(proxy=f"http://u:{SECRET}@h", verify="no"),  # type: ignore[arg-type]
    "Config(https_proxy)": lambda: Config(https_proxy=f"http://u:{SECRET}@h/path"),
    "Config(http_proxy)": lambda: Config(http_proxy=f"http://u:{SECRET}@h h"),
    "Config(endpoint_url)": lambda: Config(endpoint_url=LOGIN_URL, verify="no"),  # type: ignore[arg-type]
    "Config(ec2_metadata_endpoint)": lambda: Config(ec2_metadata_endpoint=LOGIN_URL, verify="no"),  # type: ignore[arg-type]
    "Config.resolve(environ)": lambda: Config().resolve(
        {**ENVIRON, "AWS_MAX_ATTEMPTS": "x", "AWS_ENDPOINT_URL": LOGIN_URL}
    ),
    "a proxy that a request would go by": lambda: Proxies(
        https=ProxySetting(url=f"ftp://u:{SECRET}@h", origin="https_proxy")
    ).for_url("https://sts.example/"),
    "SettingsSources(environ)": lambda: SettingsSources(5, ENVIRON),  # type: ignore[arg-type]
    "sigv4.host_header(url)": lambda: sigv4.host_header(LOGIN_URL),
    "STSClient(endpoint_url)": lambda: STSClient(endpoint_url=LOGIN_URL),
    "STSClient(endpoint_url), and another option is wrong": lambda: STSClient(endpoint_url=LOGIN_URL, config=5),  # type: ignore[arg-type]
    "STSClient(credentials)": lambda: client(credentials=DATA),
    "STSClient(credentials), text": lambda: client(credentials=SECRET),
    "STSClient(credentials), and another option is wrong": lambda: client(credentials=("AKIA", SECRET), config=5),
    "STSClient.role(mfa_code)": lambda: client().role(
        ROLE,
        serial_number="arn:aws:iam::123456789012:mfa/me",
        mfa_code=SECRET,  # type: ignore[arg-type]
    ),
    "STSClient.with_options(credentials)": lambda: client().with_options(credentials=DATA),  # type: ignore[arg-type]
    "STSClient.with_options(headers)": lambda: client().with_options(headers=HEADERS),
    "STSClient.with_options(headers), a value": lambda: client().with_options(headers={"x-a": f"{SECRET}\n"}),
    "STSClient.with_options(headers), text": lambda: client().with_options(headers=SECRET),  # type: ignore[arg-type]
    "STSClient.with_options(headers), and another option is wrong": lambda: client().with_options(
        headers={"x-a": SECRET},
        credentials=DATA,
        deadline=-1,  # type: ignore[arg-type]
    ),
    "STSClient.assume_role(token_code)": lambda: client().assume_role(
        role_arn="x", role_session_name="me", serial_number="123456789", token_code=SECRET
    ),
    "STSClient.assume_role_with_saml(saml_assertion)": lambda: client().assume_role_with_saml(
        role_arn="x", principal_arn=ROLE, saml_assertion=SECRET
    ),
    "STSClient.assume_role_with_web_identity(web_identity_token)": lambda: client().assume_role_with_web_identity(
        role_arn="x", role_session_name="me", web_identity_token=SECRET
    ),
    "STSClient.decode_authorization_message(encoded_message)": lambda: client().decode_authorization_message(
        encoded_message=SECRET * 100
    ),
    "STSClient.get_delegated_access_token(trade_in_token)": lambda: client().get_delegated_access_token(
        trade_in_token=UNENCODABLE
    ),
    "STSClient.get_session_token(token_code)": lambda: client().get_session_token(
        serial_number="123456789", token_code=SECRET
    ),
    "STSClient.send(request)": lambda: client().send(sts_async.GetSessionTokenRequest(token_code=SECRET)),
    "STSClient.presign(request)": lambda: client().presign(sts_async.GetSessionTokenRequest(token_code=SECRET)),
    "AssumeRoleProvider(source)": lambda: sources.AssumeRoleProvider(role_arn=ROLE, source=DATA),  # type: ignore[arg-type]
    "AssumeRoleProvider(source), and another is wrong": lambda: sources.AssumeRoleProvider(
        role_arn=ROLE,
        source=DATA,
        mfa_code=SECRET,
        serial_number=5,  # type: ignore[arg-type]
    ),
    "AssumeRoleProvider(mfa_code)": lambda: sources.AssumeRoleProvider(
        role_arn=ROLE,
        serial_number="123456789",
        mfa_code=SECRET,  # type: ignore[arg-type]
    ),
    "SessionTokenProvider(source)": lambda: sources.SessionTokenProvider(source=DATA),  # type: ignore[arg-type]
    "SessionTokenProvider(mfa_code)": lambda: sources.SessionTokenProvider(
        serial_number="123456789",
        mfa_code=SECRET,  # type: ignore[arg-type]
    ),
    "FederationTokenProvider(source)": lambda: sources.FederationTokenProvider(name="bob", source=DATA),  # type: ignore[arg-type]
    "SAMLProvider(assertion)": lambda: sources.SAMLProvider(role_arn=ROLE, principal_arn=ROLE, assertion=SECRET),  # type: ignore[arg-type]
    "WebIdentityProvider(token)": lambda: sources.WebIdentityProvider(role_arn=ROLE, token=SECRET),  # type: ignore[arg-type]
    "WebIdentityProvider(token), with a file": lambda: sources.WebIdentityProvider(
        role_arn=ROLE,
        token=SECRET,
        token_file="/x",  # type: ignore[arg-type]
    ),
    "WebIdentityProvider.from_environment(environ)": lambda context: sources.WebIdentityProvider.from_environment(
        {**ENVIRON, "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": ROLE}
    ).provide_credentials(context),
    "ProcessProvider(command)": lambda: sources.ProcessProvider(f"{SECRET}\0"),
    "ProcessProvider(command), that is not there": lambda context: sources.ProcessProvider(
        f"/nonexistent/x --password {SECRET}"
    ).provide_credentials(context),
    "ProcessProvider(command), without an end": lambda context: sources.ProcessProvider(f"x '{SECRET}").fetch(context),
    "SSOProvider(environ)": lambda: sources.SSOProvider(**SSO, environ=ENVIRON),  # type: ignore[arg-type]
    "SSOProvider(config), data": lambda: sources.SSOProvider(**{**SSO, "account_id": "1" * 12}, config=DATA),  # type: ignore[arg-type]
    "LoginProvider(environ)": lambda: sources.LoginProvider(**LOGIN, environ=ENVIRON),
    "LoginProvider(config), data": lambda: sources.LoginProvider(**{**LOGIN, "region": None}, config=DATA),  # type: ignore[arg-type]
    "EnvironmentProvider(environ)": lambda context: sources.EnvironmentProvider(ENVIRON).provide_credentials(context),
    "ContainerProvider(environ)": lambda context: sources.ContainerProvider(
        environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": LOGIN_URL, **ENVIRON}
    ).fetch(context),
    "ContainerProvider(environ), the token": lambda context: sources.ContainerProvider(
        environ={
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": f"{SECRET}\r\nX: 1",
        }
    ).fetch(context),
    "IMDSProvider(endpoint)": lambda context: sources.IMDSProvider(endpoint=LOGIN_URL).fetch(context),
    "CredentialsFleet.get(identity)": lambda: in_fleet(lambda fleet: fleet.get(DATA)),
    "CredentialsFleet.get(identity), text": lambda: in_fleet(lambda fleet: fleet.get(SECRET)),
    "CredentialsFleet.get(identity), the source of a chain": lambda: in_fleet(lambda fleet: fleet.get(CHAINED)),
    "CredentialsFleet.get(identity), with a code": lambda: in_fleet(
        lambda fleet: fleet.get(sts_async.GetSessionTokenRequest(token_code=SECRET))
    ),
    "CredentialsFleet.provider(identity)": lambda: in_fleet(lambda fleet: fleet.provider(DATA)),
    "CredentialsFleet.add(identities)": lambda: in_fleet(lambda fleet: fleet.add(DATA, SECRET)),
    "CredentialsFleet.pause(identities)": lambda: in_fleet(lambda fleet: fleet.pause(DATA)),
    "CredentialsFleet.resume(identities)": lambda: in_fleet(lambda fleet: fleet.resume(DATA)),
    "FileCache(environ)": lambda: sts_async.FileCache(5, environ=ENVIRON),  # type: ignore[arg-type]
    "EncryptionKeys(keys)": lambda: sts_async.EncryptionKeys({"k": SECRET}),
    "EncryptionKeys(keys), in place of an id": lambda: sts_async.EncryptionKeys({f"{SECRET}=": "k"}),
    "EncryptionKeys(keys), text": lambda: sts_async.EncryptionKeys(f"k {SECRET}"),  # type: ignore[arg-type]
    "EncryptionKeys.from_text(text)": lambda: sts_async.EncryptionKeys.from_text(f"# keys\nk {SECRET}"),
    "EncryptionKeys.from_text(text), bytes": lambda: sts_async.EncryptionKeys.from_text(SECRET.encode()),  # type: ignore[arg-type]
    "RedisCache(redis), a URL": lambda: sts_async.RedisCache(f"redis://user:{SECRET}@/0"),
    "RedisCache(redis), a URL with options": lambda: sts_async.RedisCache(f"redis://:{SECRET}@host?password={SECRET}"),
    "RedisCache(redis), a valid URL": lambda: sts_async.RedisCache(f"redis://:{SECRET}@host"),
    "RedisCache(redis), data": lambda: sts_async.RedisCache(DATA),
    "RedisCache(keys)": lambda: sts_async.RedisCache("redis://host", keys=SECRET),  # type: ignore[arg-type]
    "RedisCache(keys), data": lambda: sts_async.RedisCache("redis://host", keys={"k": SECRET}),  # type: ignore[arg-type]
    "StaticProvider(credentials)": lambda: sources.StaticProvider(
        Credentials(access_key_id="AKIA", secret_access_key=SECRET, expiration=5)  # type: ignore[arg-type]
    ),
    "StaticProvider(credentials), data": lambda: sources.StaticProvider(DATA),  # type: ignore[arg-type]
    "CachingProvider(source)": lambda: sources.CachingProvider(DATA),  # type: ignore[arg-type]
    "CachingProvider(source), that gives data": of_data,
    "ProviderChain(sources)": lambda: sources.ProviderChain(KEYS, DATA),  # type: ignore[arg-type]
    "ProfileProvider(mfa_code)": lambda: sources.ProfileProvider(mfa_code=SECRET, settings_sources=5),  # type: ignore[arg-type]
    "DefaultChain(mfa_code)": lambda: sources.DefaultChain(mfa_code=SECRET, settings_sources=5),  # type: ignore[arg-type]
    "sigv4.sign(credentials)": lambda: sigv4.sign(KEYLESS, **SIGNED, headers={}, at=AT),  # type: ignore[arg-type]
    "sigv4.sign(credentials), data": lambda: sigv4.sign(DATA, **SIGNED, headers={}, at=AT),  # type: ignore[arg-type]
    "sigv4.sign(url)": lambda: sigv4.sign(KEYS, **{**SIGNED, "url": f"/?token={SECRET}"}, headers={}, at=AT),  # type: ignore[arg-type]
    "sigv4.sign(url), with a password": lambda: sigv4.sign(
        KEYS, **{**SIGNED, "url": f"{LOGIN_URL} "}, headers={}, at=AT
    ),  # type: ignore[arg-type]
    "sigv4.sign(headers)": lambda: sigv4.sign(KEYS, **SIGNED, headers=HEADERS, at=AT),  # type: ignore[arg-type]
    "sigv4.sign(headers), a value": lambda: sigv4.sign(KEYS, **SIGNED, headers={"x-a": f"{SECRET}\n"}, at=AT),  # type: ignore[arg-type]
    "sigv4.sign(body)": lambda: sigv4.sign(
        KEYS,
        **{**SIGNED, "region": "!"},
        headers={},
        body=SECRET.encode(),
        at=AT,  # type: ignore[arg-type]
    ),
    "sigv4.Signer(credentials)": lambda: (
        sigv4.Signer(
            Credentials(access_key_id="AKIA", secret_access_key="", session_token=SECRET),
            **SIGNED,
            headers={},  # type: ignore[arg-type]
        )
        and None
    ),
    "sigv4.Signer(url)": lambda: sigv4.Signer(KEYS, **{**SIGNED, "url": f"https://h/?{SECRET}\n"}, headers={}),
    "sigv4.Signer.for_url(url)": lambda: sigv4.Signer(KEYS, **SIGNED, headers={}).for_url(f"https://h/?{SECRET}\n"),
    "sigv4.Signer(headers)": lambda: sigv4.Signer(KEYS, **SIGNED, headers=HEADERS),
    "sigv4.presign(credentials)": lambda: sigv4.presign(KEYLESS, **SIGNED, at=AT),  # type: ignore[arg-type]
    "sigv4.presign(url)": lambda: sigv4.presign(KEYS, **{**SIGNED, "url": f"https://h/?t={SECRET}"}, at=AT, expires=0),  # type: ignore[arg-type]
    "sigv4.presign(url), that cannot be sent": lambda: sigv4.presign(
        KEYS,
        **{**SIGNED, "url": f"https://h/?t={SECRET}\n"},
        at=AT,  # type: ignore[arg-type]
    ),
    "sigv4.presign(headers)": lambda: sigv4.presign(KEYS, **SIGNED, headers=HEADERS, at=AT),  # type: ignore[arg-type]
    "sigv4.canonical_request(query)": lambda: sigv4.canonical_request(
        method=5,
        path="/",
        query=SECRET,
        headers=[("a", SECRET)],
        payload_hash="",  # type: ignore[arg-type]
    ),
    "sigv4.canonical_request(headers)": lambda: sigv4.canonical_request(
        method="GET",
        path="/",
        query=SECRET,
        headers=[("a", SECRET), ("b", 5)],
        payload_hash="",  # type: ignore[list-item]
    ),
    "sigv4.string_to_sign(request)": lambda: sigv4.string_to_sign("20260101T000000Z", "x", UNENCODABLE),
    "sigv4.signing_key(credentials)": lambda: sigv4.signing_key(KEYLESS, "20260101/eu-west-1/sts/aws4_request"),
    "sigv4.signing_key(credentials), data": lambda: sigv4.signing_key(DATA, "x"),  # type: ignore[arg-type]
    "sigv4.presign(credentials), data": lambda: sigv4.presign(DATA, **SIGNED, at=AT),  # type: ignore[arg-type]
    "sigv4.signature(key)": lambda: sigv4.signature(SECRET.encode(), "\udc80"),
}

CANNOT_FAIL = {
    "CredentialsFleet.each(identities)",  # it yields the error of an invalid identity
    "CredentialsFleet.peek(identity)",
    "CredentialsFleet.remove(identities)",
    "FileCache.load(key)",  # a failure of a cache is a warning
    "FileCache.store(key)",
    "FileCache.lease(key)",
    "FrozenMap.get(key)",
    "PresignedUrl(url)",
    "RedisCache.load(key)",
    "RedisCache.store(key)",
    "RedisCache.lease(key)",
    "sigv4.PresignedUrl(url)",
    "sigv4.signature(text)",  # a hash of what is secret
    "STSClient.get_cached_response_metadata(request)",  # as `send`
}


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
@pytest.mark.parametrize("place", PLACES)
async def test_no_crash_reporter_shows_a_secret_argument(reporter: Any, place: str, context: Any) -> None:
    """G6, T14, T16: this includes the first eighty characters, and values that a walk through mappings would show."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")
    call = PLACES[place]
    with pytest.raises((STSError, TypeError, AttributeError, ValueError)) as caught:
        found = call(*[context] * len(inspect.signature(call).parameters))
        if inspect.isawaitable(found):
            await found

    shown = reporter.show(caught.value)
    assert "sts_async" in shown  # there are frames of ours to look at
    assert SECRET[:8] not in shown
    assert SECRET[9:17] not in shown
    assert SECRET[:8] not in str(caught.value)


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
def test_each_reporter_would_show_plain_text(reporter: Any) -> None:
    """Otherwise the test above could not fail."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")
    source = "def fail(text, held):\n    raise ValueError\n\nfail(text, {'x': [text]})"
    with pytest.raises(ValueError) as caught:
        exec(compile(source, "/elsewhere/module.py", "exec"), {"text": SECRET})

    assert SECRET[:8] in reporter.show(caught.value)


# -- Nothing is left out -----------------------------------------------------------------------------------------

HOLDERS = set(
    """
    assertion body command credentials ec2_metadata_endpoint encoded_message endpoint endpoint_url environ headers
    http_proxy https_proxy identities identity key keys mfa_code proxy query request saml_assertion secret_access_key
    session_token source sources text token token_code trade_in_token url web_identity_token
    """.split()
)
"""Names of arguments that may hold a secret."""


def public_callables() -> Iterator[tuple[str, Any]]:
    """Yield each public callable with its name. Plain data classes and exceptions only store their arguments."""
    for prefix, module in (("", sts_async), ("", sources), ("sigv4.", sigv4)):
        for name in getattr(module, "__all__", vars(module)):
            thing = getattr(module, name)
            if name.startswith("_") or not callable(thing) or not thing.__module__.startswith("sts_async"):
                continue
            if prefix and not thing.__module__.startswith(module.__name__):
                continue
            if (
                inspect.isclass(thing)
                and (issubclass(thing, BaseException | str) or attrs.has(thing))
                and thing is not Config
            ):
                continue
            yield prefix + name, thing
            if inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
                methods = [
                    one for one in dir(thing) if not one.startswith("_") and inspect.isroutine(getattr(thing, one))
                ]
                yield from ((f"{prefix}{name}.{method}", getattr(thing, method)) for method in methods)


def test_no_argument_that_may_hold_a_secret_is_left_out() -> None:
    """G6: the names of the arguments of everything public are checked."""
    wanted = {
        f"{name}({argument})"
        for name, thing in public_callables()
        for argument in inspect.signature(thing).parameters
        if argument in HOLDERS
    }

    assert {"Config(proxy)", "STSClient.assume_role(token_code)", "sigv4.sign(url)"} <= wanted
    assert wanted >= CANNOT_FAIL
    assert wanted - {place.partition(",")[0] for place in PLACES} - CANNOT_FAIL == set()
