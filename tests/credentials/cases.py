"""
A table of machines, by environment and files, and the credentials that the default chain finds on each.

`test_botocore` builds each machine, and asks the library and botocore. In texts, ``<home>`` is the home directory,
``<imds>`` the URL of the metadata service, and ``<past>``, ``<soon>`` and ``<future>`` are times.
"""

import base64
import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import attrs

from sts_async.testing import Answer, Refuse
from sts_async.testing.faults import Fault

ROLE = "arn:aws:iam::123456789012:role/demo"
OTHER_ROLE = "arn:aws:iam::123456789012:role/other"
GUARDED_ROLE = "arn:aws:iam::123456789012:role/guarded"
"""A role that requires the external id ``ext-1``."""
MFA_ROLE = "arn:aws:iam::123456789012:role/attended"
"""A role that requires MFA."""
ROLES_OF_FILES = (ROLE, OTHER_ROLE, GUARDED_ROLE, MFA_ROLE)
"""Values in files count as secrets in the tests, but messages may show the names of these roles."""
MFA_DEVICE = "arn:aws:iam::123456789012:mfa/base"
START_URL = "https://demo.awsapps.com/start"
LOGIN_SESSION = "arn:aws:iam::1:user/me"
USERS = ("AKIABASE", "AKIAENV", "AKIAFILE")
"""Keys that the server knows. Their users are named ``base``, ``env`` and ``file``."""
SECRET = "SENTINEL-secret"


@attrs.frozen
class Keys:
    """Keys that are written in a file or a variable."""

    id: str
    token: str | None = None
    secret: str = SECRET


@attrs.frozen(init=False)
class Session:
    """
    A session of a role, and the signers of the calls that led to it, in order.

    There are no signers if a server other than STS provided the session.
    """

    name: str
    signers: tuple[str, ...]

    def __init__(self, name: str, *signers: str) -> None:
        self.__attrs_init__(name, signers)


@attrs.frozen
class Fails:
    """An error that ends the search, by the name of its class."""

    error: str


@attrs.frozen
class Nothing:
    """No source is configured."""


Outcome = Keys | Session | Fails | Nothing
NOTHING = Nothing()
FAILS = Fails("")
"""An error of botocore of any class."""


@attrs.frozen
class Case:
    """
    A machine, and the result of the default chain on it.

    Attributes:
        name: The claim of the case.
        gives: Our result. Botocore has the same result, or any error if ours is an error.
        botocore: The result of botocore, if we differ on purpose.
        we_differ: The reason for the difference.
        config: Contents of the config file.
        credentials: Contents of the credentials file.
        environ: Variables, in addition to those that point to the servers; None removes one of these.
        files: Other files below the home directory.
        servers: Options of the servers to start, by name. Each provides a session of this name.
        faults: Faults of the servers, by name.
        profile: The profile that is passed in code.
    """

    name: str
    gives: Outcome
    botocore: Outcome | None = attrs.field(default=None, kw_only=True)
    we_differ: str = attrs.field(default="", kw_only=True)
    config: str = attrs.field(default="", kw_only=True)
    credentials: str = attrs.field(default="", kw_only=True)
    environ: Mapping[str, str | None] = attrs.field(factory=dict, kw_only=True)
    files: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    servers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, kw_only=True)
    faults: Mapping[str, Fault] = attrs.field(factory=dict, kw_only=True)
    profile: str | None = attrs.field(default=None, kw_only=True)


def environment(key_id: str = "AKIAENV", **others: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": SECRET, **others}


def keys(key_id: str, more: str = "") -> str:
    return f"aws_access_key_id = {key_id}\naws_secret_access_key = {SECRET}\n{more}"


def role(source: str, arn: str = ROLE, more: str = "") -> str:
    return f"role_arn = {arn}\nrole_session_name = me\n{source}\n{more}"


def profiles(**sections: str) -> str:
    """Return the text of a config file with these profiles."""
    return "".join(f"[{'' if name == 'default' else 'profile '}{name}]\n{lines}\n" for name, lines in sections.items())


def document(key_id: str, **others: object) -> str:
    return json.dumps({"Version": 1, "AccessKeyId": key_id, "SecretAccessKey": SECRET, **others})


def sso_session(more: str = "") -> str:
    return f"[sso-session corp]\nsso_region = us-east-1\nsso_start_url = {START_URL}\n{more}"


def _jwt() -> str:
    claims = {"iss": "https://idp.example", "sub": "me", "aud": "sts", "exp": 4_102_444_800}
    parts: tuple[dict[str, Any], ...] = ({"alg": "none"}, claims, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


JWT = _jwt()
BASE = f"[base]\n{keys('AKIABASE')}"
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "<home>/token", "AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "me"}
TOKEN = {"token": JWT}
SSO = "sso_account_id = 123456789012\nsso_role_name = demo\n"
LEGACY = f"{SSO}sso_region = us-east-1\nsso_start_url = {START_URL}\n"
LOGIN = f"login_session = {LOGIN_SESSION}\n"
PROCESS = "credential_process = cat <home>/answer.json\n"
ANSWER = {"answer.json": document("AKIAPROC")}
MINE = {"AWS_PROFILE": "mine"}
NO_TOKEN = {"imds": Answer(403, path="/latest/api/token", times=9)}


# Every source alone, and each pair of them in one profile


@attrs.frozen(kw_only=True)
class Source:
    """One way to configure credentials. The keys of the config file are lines of the default profile."""

    gives: Outcome
    config: Mapping[str, str] = attrs.field(factory=dict)
    credentials: Mapping[str, str] = attrs.field(factory=dict)
    environ: Mapping[str, str] = attrs.field(factory=dict)
    servers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in text.splitlines())


SOURCES = {
    "environment": Source(gives=Keys("AKIAENV"), environ=environment()),
    "web identity of the profile": Source(
        gives=Session("demo/web", "nobody"),
        config={"role_arn": ROLE, "role_session_name": "web", "web_identity_token_file": "<home>/token"},
    ),
    "role": Source(gives=Session("demo/me", "user/base"), config=_pairs(role("source_profile = base").strip())),
    "SSO": Source(gives=Session("demo/sso"), config={"sso_session": "corp", **_pairs(SSO)}, servers={"sso": {}}),
    "credentials file": Source(gives=Keys("AKIAFILE"), credentials=_pairs(keys("AKIAFILE"))),
    "config file": Source(gives=Keys("AKIACONF"), config=_pairs(keys("AKIACONF"))),
    "login": Source(gives=Session("demo/signin"), config=_pairs(LOGIN), servers={"signin": {}}),
    "process": Source(gives=Keys("AKIAPROC"), config=_pairs(PROCESS)),
    "web identity of the environment": Source(gives=Session("demo/me", "nobody"), environ=WEB),
    "container": Source(gives=Session("demo/container"), servers={"container": {}}),
    "instance": Source(gives=Session("demo/imds"), servers={"imds": {}}),
}
BOTOCORE_ORDER = (
    "environment",
    "role",
    "web identity of the environment",
    "web identity of the profile",
    "SSO",
    "credentials file",
    "login",
    "process",
    "config file",
    "container",
    "instance",
)
"""Our order is that of `SOURCES`."""
PROFILE_FIRST = "a profile is one source: what it asks for comes before a web identity in the environment"
KEYS_TOGETHER = "keys of the profile are the same thing in either file: they come before login and process"


def _of_sources(*names: str) -> Case:
    found = [SOURCES[name] for name in names]
    config = {key: value for source in reversed(found) for key, value in source.config.items()}
    credentials = {key: value for source in found for key, value in source.credentials.items()}
    first = min(names, key=BOTOCORE_ORDER.index)
    if set(names) == {"web identity of the profile", "role"}:
        first = names[0]  # a profile with a token file is not one with a role, for botocore too
    differs = first != names[0]
    reason = KEYS_TOGETHER if names[0] == "config file" and "web" not in first else PROFILE_FIRST
    return Case(
        " and ".join(names),
        found[0].gives,
        botocore=SOURCES[first].gives if differs else None,
        we_differ=reason if differs else "",
        config=f"[default]\n{_lines(config)}[profile base]\n{keys('AKIABASE')}{sso_session()}",
        credentials=f"[default]\n{_lines(credentials)}",
        environ={name: value for source in found for name, value in source.environ.items()},
        files={**TOKEN, **ANSWER},
        servers={name: options for source in found for name, options in source.servers.items()},
    )


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in values.items())


ALONE = tuple(_of_sources(name) for name in SOURCES)
PAIRS = tuple(_of_sources(*names) for names in combinations(SOURCES, 2))


# One thing at a time. Cases that name no reason are those in which both do the same.

MERGED = "a profile that both files define is merged key by key, and the credentials file wins"
BLANK = "blank variables and keys, white space too, count as unset"
HALF = "half a pair of keys is an error: passing on would use another identity"
GRAMMAR = "the grammar that the AWS SDKs share, not that of INI files"
STANDARD_NAMES = "the names that the AWS SDKs share: AWS_SESSION_TOKEN and aws_session_token"
OLD_FILES = "files of boto 2 and of the old EC2 tools are not read"
ONE_PLACE = "a web identity stands in one place: token file, role and name of the session come from there"
STOPS = "a source that is configured and fails ends the search"
NOT_NEEDED = "keys in the environment come before the profile, so nothing in the files can break them"
NO_V1 = "IMDSv1 is used only where something says so"

# fmt: off
NAMES = (
    Case("no configuration at all", NOTHING),
    Case("the profile that AWS_PROFILE names", Keys("AKIAA"), config=f"[profile mine]\n{keys('AKIAA')}", environ=MINE),
    Case("the profile that AWS_DEFAULT_PROFILE names", Keys("AKIAA"), config=f"[profile mine]\n{keys('AKIAA')}",
         environ={"AWS_DEFAULT_PROFILE": "mine"}),
    Case("AWS_PROFILE and AWS_DEFAULT_PROFILE", Keys("AKIAA"), botocore=Keys("AKIAB"),
         we_differ="all SDKs but botocore read AWS_PROFILE, so it comes first",
         config=f"[profile mine]\n{keys('AKIAA')}[profile other]\n{keys('AKIAB')}",
         environ={**MINE, "AWS_DEFAULT_PROFILE": "other"}),
    Case("a blank AWS_PROFILE", Keys("AKIAA"), botocore=FAILS, we_differ=BLANK, config=f"[default]\n{keys('AKIAA')}",
         environ={"AWS_PROFILE": ""}),
    Case("a profile that is missing", Fails("InvalidConfigFile"), environ=MINE),
    Case("a default profile that is named and missing", Fails("InvalidConfigFile"), environ={"AWS_PROFILE": "default"}),
    Case("a missing profile beside keys", Keys("AKIAENV"), botocore=FAILS, we_differ=NOT_NEEDED,
         environ={**MINE, **environment()}),
    Case("a profile that says nothing of keys", NOTHING, config="[profile mine]\nregion = eu-west-1\n", environ=MINE),
    Case("a missing profile in code", Fails("InvalidConfigFile"), profile="mine", environ=environment()),
    Case("a profile in code and keys in the environment", Keys("AKIAA"), config=f"[profile mine]\n{keys('AKIAA')}",
         environ={**environment(), **WEB}, profile="mine"),
    Case("a profile in code without keys", NOTHING, config="[profile mine]\nregion = eu-west-1\n",
         environ={**environment(), **WEB}, profile="mine"),
    Case("a profile in code without keys, in a container", Session("demo/container"),
         config="[profile mine]\nregion = eu-west-1\n", environ=environment(), servers={"container": {}},
         profile="mine"),
    Case("keys and a profile of AWS_PROFILE", Keys("AKIAENV"), credentials="[mine]\n" + keys("AKIAA"),
         environ={**MINE, **environment()}),
    Case("files at other places", Keys("AKIAA", token="AA"), config="[default]\nregion = x\n",
         files={"c": "[profile mine]\n", "k": "[mine]\n" + keys("AKIAA", "aws_session_token = AA\n")},
         environ={**MINE, "AWS_CONFIG_FILE": "~/c", "AWS_SHARED_CREDENTIALS_FILE": "<home>/k"}),
    Case("files that are missing", NOTHING, config="[default]\n" + keys("AKIAA"),
         environ={"AWS_CONFIG_FILE": "<home>/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "~/nowhere"}),
    Case("a variable in AWS_CONFIG_FILE", NOTHING, botocore=Keys("AKIAA"),
         we_differ="in the variables of the files, a leading ~/ is expanded and nothing else",
         files={"c": "[default]\n" + keys("AKIAA")}, environ={"AWS_CONFIG_FILE": "$HOME/c"}),
    Case("a directory in the place of a file", Fails("InvalidConfigFile"), botocore=NOTHING,
         we_differ="a file that is there and cannot be read is an error", files={"c/x": "x"},
         environ={"AWS_CONFIG_FILE": "<home>/c"}),
    Case("an option that it cannot have", Keys("AKIAENV"), environ=environment(),
         config="[default]\nretry_mode = slow\n"),
    Case("~/.boto", NOTHING, botocore=Keys("AKIAA"), we_differ=OLD_FILES,
         files={".boto": "[Credentials]\n" + keys("AKIAA")}),
    Case("AWS_CREDENTIAL_FILE", NOTHING, botocore=Keys("AKIAA"), we_differ=OLD_FILES,
         files={"old": f"AWSAccessKeyId=AKIAA\nAWSSecretKey={SECRET}\n"},
         environ={"AWS_CREDENTIAL_FILE": "<home>/old"}),
)

VARIABLES = (
    Case("keys with a session token", Keys("AKIAENV", "AA"), environ=environment(AWS_SESSION_TOKEN="AA")),
    Case("keys with a blank token", Keys("AKIAENV"), environ=environment(AWS_SESSION_TOKEN="")),
    Case("keys with AWS_SECURITY_TOKEN", Keys("AKIAENV", "BB"), environ=environment(AWS_SECURITY_TOKEN="BB")),
    Case("keys with two tokens", Keys("AKIAENV", "AA"), botocore=Keys("AKIAENV", "BB"), we_differ=STANDARD_NAMES,
         environ=environment(AWS_SESSION_TOKEN="AA", AWS_SECURITY_TOKEN="BB")),
    Case("empty keys", Keys("AKIAFILE"), credentials="[default]\n" + keys("AKIAFILE"),
         environ={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
    Case("keys of white space", NOTHING, botocore=Keys("  ", secret=" "), we_differ=BLANK,
         environ={"AWS_ACCESS_KEY_ID": "  ", "AWS_SECRET_ACCESS_KEY": " "}),
    Case("keys in white space", Keys("AKIAENV"), botocore=Keys(" AKIAENV\n"),
         we_differ="white space around a variable is no part of it", environ=environment(" AKIAENV\n")),
    Case("an access key id alone", Fails("CredentialsError"), environ={"AWS_ACCESS_KEY_ID": "AKIAENV"}),
    Case("an empty secret", Fails("CredentialsError"), environ={**environment(), "AWS_SECRET_ACCESS_KEY": ""}),
    Case("a secret alone", Fails("CredentialsError"), botocore=Keys("AKIAFILE"), we_differ=HALF,
         credentials="[default]\n" + keys("AKIAFILE"), environ={"AWS_SECRET_ACCESS_KEY": SECRET}),
    Case("keys that end in a while", Keys("AKIAENV"), environ=environment(AWS_CREDENTIAL_EXPIRATION="<future>")),
    Case("keys that end soon", Keys("AKIAENV"), environ=environment(AWS_CREDENTIAL_EXPIRATION="<soon>")),
    Case("keys that have ended", Fails("CredentialsExpired"), credentials="[default]\n" + keys("AKIAFILE"),
         environ=environment(AWS_CREDENTIAL_EXPIRATION="<past>")),
    Case("keys with an empty end", Keys("AKIAENV"), environ=environment(AWS_CREDENTIAL_EXPIRATION="")),
    Case("keys that end at no time", Fails("CredentialsError"), environ=environment(AWS_CREDENTIAL_EXPIRATION="never")),
    Case("keys that end at a time in words", Keys("AKIAENV"),
         environ=environment(AWS_CREDENTIAL_EXPIRATION="1 Jan 2999 00:00 UTC")),
    Case("keys that end at a time of date +%FT%T%z", Keys("AKIAENV"),
         environ=environment(AWS_CREDENTIAL_EXPIRATION="2999-01-01T00:00:00+0000")),
    Case("keys that end at a time in seconds", Keys("AKIAENV"), botocore=FAILS, we_differ="read as everywhere else",
         environ=environment(AWS_CREDENTIAL_EXPIRATION="32472144000")),
)

KEYS_OF_PROFILES = (
    Case("both files with keys", Keys("AKIAFILE"), config="[default]\n" + keys("AKIACONF"),
         credentials="[default]\n" + keys("AKIAFILE")),
    Case("keys in one file, the region in the other", Keys("AKIAFILE"), config="[default]\nregion = eu-west-1\n",
         credentials="[default]\n" + keys("AKIAFILE")),
    Case("a pair over both files", Keys("AKIAA"), botocore=FAILS, we_differ=MERGED,
         config="[default]\naws_access_key_id = AKIAA\n", credentials=f"[default]\naws_secret_access_key = {SECRET}\n"),
    Case("a token beside keys of the other file", Keys("AKIAFILE", "AA"), botocore=Keys("AKIAFILE"), we_differ=MERGED,
         config="[default]\naws_session_token = AA\n", credentials="[default]\n" + keys("AKIAFILE")),
    Case("aws_security_token", Keys("AKIAA", "BB"), config="[default]\n" + keys("AKIAA", "aws_security_token = BB\n")),
    Case("two tokens in a profile", Keys("AKIAA", "AA"), botocore=Keys("AKIAA", "BB"), we_differ=STANDARD_NAMES,
         config="[default]\n" + keys("AKIAA", "aws_session_token = AA\naws_security_token = BB\n")),
    Case("an empty token in a profile", Keys("AKIAA"),
         credentials="[default]\n" + keys("AKIAA", "aws_session_token =\n")),
    Case("an access key id alone in a profile", Fails("InvalidConfigFile"),
         config="[default]\naws_access_key_id = A\n"),
    Case("a secret alone in a profile", Fails("InvalidConfigFile"), botocore=NOTHING, we_differ=HALF,
         config="[default]\naws_secret_access_key = A\n"),
    Case("empty keys in a profile", NOTHING, botocore=Keys("", secret=""), we_differ=BLANK,
         config="[default]\naws_access_key_id =\naws_secret_access_key =\n"),
)

ROLES = (
    Case("a role in the credentials file", Session("demo/me", "user/base"),
         credentials=f"[mine]\n{role('source_profile = base')}{BASE}", environ=MINE),
    Case("a role without a name for its sessions", Session("demo/*", "user/base"),
         config=f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n", credentials=BASE),
    Case("a chain of two roles", Session("demo/me", "user/base", "other/me"), credentials=BASE,
         config=profiles(default=role("source_profile = b"), b=role("source_profile = base", OTHER_ROLE))),
    Case("a chain of three roles", Session("demo/me", "user/base", "demo/me", "other/me"), credentials=BASE,
         config=profiles(default=role("source_profile = b"), b=role("source_profile = c", OTHER_ROLE),
                         c=role("source_profile = base"))),
    Case("a circle of two profiles", Fails("InvalidConfigFile"),
         config=profiles(default=role("source_profile = a"), a=role("source_profile = default"))),
    Case("a circle that is entered", Fails("InvalidConfigFile"),
         config=profiles(default=role("source_profile = a"), a=role("source_profile = b"),
                         b=role("source_profile = a"))),
    Case("a role with its own keys as the source", Session("demo/me", "user/base"),
         config=f"[default]\n{role('source_profile = default', more=keys('AKIABASE'))}"),
    Case("a role that is its own source, without keys", Fails("InvalidConfigFile"),
         config=profiles(default=role("source_profile = default"))),
    Case("a role and keys, with another source", Session("demo/me", "user/base"), credentials=BASE,
         config=f"[default]\n{role('source_profile = base', more=keys('AKIAA'))}"),
    Case("a source with keys of its own and a role", Session("demo/me", "user/base"),
         config=profiles(default=role("source_profile = b"),
                         b=role("source_profile = b", OTHER_ROLE, keys("AKIABASE")))),
    Case("a source_profile without a role", NOTHING, config=f"[default]\nsource_profile = base\n{BASE}"),
    Case("a credential_source without a role", NOTHING, config="[default]\ncredential_source = Ec2InstanceMetadata\n"),
    Case("a role with an empty source beside another", Session("demo/me", "user/env"), botocore=FAILS, we_differ=BLANK,
         config=profiles(mine=role("source_profile =", more="credential_source = Environment")), profile="mine",
         environ=environment()),
    Case("a source without keys, beside those of the environment", Fails("InvalidConfigFile"), profile="mine",
         environ={**environment(), **WEB}, files=TOKEN,
         config=profiles(mine=role("source_profile = b"), b="region = eu-west-1")),
    Case("a role in one file, its source in the other", Session("demo/me", "user/base"),
         config="[default]\nsource_profile = base\n[profile base]\nregion = eu-west-1\n",
         credentials=f"[default]\n{role('')}{BASE}"),
    Case("a source that is missing", Fails("InvalidConfigFile"),
         config=profiles(default=role("source_profile = nobody"))),
    Case("a source without anything", Fails("InvalidConfigFile"), servers={"imds": {}},
         config=profiles(default=role("source_profile = b"), b="region = eu-west-1")),
    Case("a role without a source", Fails("InvalidConfigFile"), config=f"[default]\n{role('', more=keys('AKIAA'))}"),
    Case("a role with two sources", Fails("InvalidConfigFile"), credentials=BASE, environ=MINE,
         config=f"[profile mine]\n{role('source_profile = base', more='credential_source = Environment')}"),
    Case("a role with an empty ARN", Keys("AKIAA"), botocore=FAILS, we_differ=BLANK,
         config=f"[default]\nrole_arn =\nsource_profile = default\n{keys('AKIAA')}"),
    Case("a source with a web identity", Session("demo/me", "nobody", "other/me"), files=TOKEN,
         config=profiles(default=role("source_profile = b"),
                         b=role("web_identity_token_file = <home>/token", OTHER_ROLE))),
    Case("a source with a process", Session("demo/me", "user/base"), files={"answer.json": document("AKIABASE")},
         config=profiles(default=role("source_profile = b"), b=PROCESS)),
    Case("a source with SSO", Session("demo/me", "demo/sso"), servers={"sso": {}},
         config=profiles(default=role("source_profile = b"), b=f"sso_session = corp\n{SSO}") + sso_session()),
    Case("a source with a login", Session("demo/me", "demo/signin"), servers={"signin": {}},
         config=profiles(default=role("source_profile = b"), b=LOGIN)),
    Case("credential_source Environment", Session("demo/me", "user/env"), environ=environment(), profile="mine",
         config=profiles(mine=role("credential_source = Environment"))),
    Case("credential_source Environment without keys", Fails("CredentialsError"), servers={"imds": {}},
         config=profiles(default=role("credential_source = Environment"))),
    Case("credential_source Environment beside AWS_PROFILE", Keys("AKIAENV"), environ={**environment(), **MINE},
         config=profiles(mine=role("credential_source = Environment"))),
    Case("credential_source EcsContainer", Session("demo/me", "demo/container"), servers={"container": {}},
         config=profiles(default=role("credential_source = EcsContainer"))),
    Case("credential_source Ec2InstanceMetadata", Session("demo/me", "demo/imds"),
         servers={"imds": {}, "container": {}},
         config=profiles(default=role("credential_source = Ec2InstanceMetadata"))),
    Case("credential_source of an instance that is off", Fails("CredentialsError"),
         config=profiles(default=role("credential_source = Ec2InstanceMetadata"))),
    Case("an unknown credential_source", Fails("InvalidConfigFile"),
         config=profiles(default=role("credential_source = Moon"))),
    Case("a credential_source in lower case", Fails("InvalidConfigFile"), environ=environment(), profile="mine",
         config=profiles(mine=role("credential_source = environment"))),
    Case("an external id", Session("guarded/me", "user/base"), credentials=BASE,
         config=f"[default]\n{role('source_profile = base', GUARDED_ROLE, 'external_id = ext-1')}"),
    Case("a wrong external id", Fails("ServiceError"), credentials=BASE, servers={"imds": {}},
         config=f"[default]\n{role('source_profile = base', GUARDED_ROLE, 'external_id = ext-2')}"),
    Case("an MFA device", Session("attended/me", "user/base"), credentials=BASE,
         config=f"[default]\n{role('source_profile = base', MFA_ROLE, f'mfa_serial = {MFA_DEVICE}')}"),
    Case("a duration", Session("demo/me", "user/base"), credentials=BASE,
         config=f"[default]\n{role('source_profile = base', more='duration_seconds = 900')}"),
    Case("a duration that is too short", Fails("ParamValidationError"), credentials=BASE,
         config=f"[default]\n{role('source_profile = base', more='duration_seconds = 60')}"),
    Case("a duration in words", Fails("InvalidConfigFile"), botocore=Session("demo/me", "user/base"), credentials=BASE,
         we_differ="a value that its key cannot have is an error, not the default",
         config=f"[default]\n{role('source_profile = base', more='duration_seconds = long')}"),
)

WEB_IDENTITIES = (
    Case("a web identity without a name for its sessions", Session("demo/*", "nobody"), files=TOKEN,
         environ={"AWS_WEB_IDENTITY_TOKEN_FILE": "<home>/token", "AWS_ROLE_ARN": ROLE}),
    Case("a token file that is missing", Fails("CredentialsError"), environ=WEB, servers={"imds": {}}),
    Case("a token file without a role", Fails("CredentialsError"), files=TOKEN, servers={"imds": {}},
         environ={"AWS_WEB_IDENTITY_TOKEN_FILE": "<home>/token"}),
    Case("AWS_ROLE_ARN without a token file", NOTHING, environ={"AWS_ROLE_ARN": ROLE}),
    Case("an empty AWS_WEB_IDENTITY_TOKEN_FILE", NOTHING, environ={**WEB, "AWS_WEB_IDENTITY_TOKEN_FILE": ""}),
    Case("a token that STS refuses", Fails("InvalidIdentityTokenException"), files=TOKEN, environ=WEB,
         servers={"imds": {}}, faults={"sts": Refuse("InvalidIdentityToken", times=9)}),
    Case("a profile with a token file, without a role", Fails("InvalidConfigFile"), files=TOKEN,
         config="[default]\nweb_identity_token_file = <home>/token\n"),
    Case("a white AWS_WEB_IDENTITY_TOKEN_FILE", NOTHING, botocore=FAILS, we_differ=BLANK,
         environ={**WEB, "AWS_WEB_IDENTITY_TOKEN_FILE": " "}),
    Case("a web identity in the profile, another role in the environment", Session("demo/me", "nobody"),
         botocore=Session("other/me", "nobody"), we_differ=ONE_PLACE, environ={"AWS_ROLE_ARN": OTHER_ROLE}, files=TOKEN,
         config=profiles(default=role("web_identity_token_file = <home>/token"))),
    Case("a web identity in the profile, another name for its sessions in the environment",
         Session("demo/me", "nobody"), botocore=Session("demo/you", "nobody"), we_differ=ONE_PLACE, files=TOKEN,
         environ={"AWS_ROLE_SESSION_NAME": "you"},
         config=profiles(default=role("web_identity_token_file = <home>/token"))),
    Case("a web identity in the environment and one in a profile in code", Session("demo/me", "nobody"), files=TOKEN,
         environ={**WEB, "AWS_ROLE_ARN": OTHER_ROLE}, profile="mine",
         config=profiles(mine=role("web_identity_token_file = <home>/token"))),
    Case("a token file in the profile, the role in the environment", Fails("InvalidConfigFile"),
         botocore=Session("demo/*", "nobody"), we_differ=ONE_PLACE,
         config="[default]\nweb_identity_token_file = <home>/token\n", files=TOKEN, environ={"AWS_ROLE_ARN": ROLE}),
    Case("a token file in the environment, the role in the profile", Fails("InvalidConfigFile"), files=TOKEN,
         config=f"[default]\nrole_arn = {ROLE}\n", environ={"AWS_WEB_IDENTITY_TOKEN_FILE": "<home>/token"}),
)

SESSIONS = (
    Case("SSO without a session", Session("demo/sso"), config=f"[default]\n{LEGACY}", servers={"sso": {}}),
    Case("SSO with a session and its start URL", Session("demo/sso"), servers={"sso": {}},
         config=f"[default]\nsso_session = corp\n{LEGACY}{sso_session()}"),
    Case("SSO whose profile contradicts the session", Fails("InvalidConfigFile"), servers={"sso": {}},
         config=f"[default]\nsso_session = corp\nsso_region = eu-west-1\n{SSO}{sso_session()}"),
    Case("SSO whose profile has other scopes than the session", Fails("InvalidConfigFile"), servers={"sso": {}},
         config=f"[default]\nsso_session = corp\nsso_registration_scopes = a\n{SSO}"
         f"{sso_session('sso_registration_scopes = b')}"),
    Case("a start URL alone, which is for tokens", NOTHING, servers={"sso": {}},
         config=f"[default]\nsso_region = us-east-1\nsso_start_url = {START_URL}\n"),
    Case("SSO with a session that is missing", Fails("InvalidConfigFile"), servers={"sso": {}},
         config=f"[default]\nsso_session = elsewhere\n{SSO}{sso_session()}"),
    Case("SSO without an account", Fails("InvalidConfigFile"), servers={"sso": {}},
         config=f"[default]\nsso_session = corp\nsso_role_name = demo\n{sso_session()}"),
    Case("an sso_session alone, which is for tokens", NOTHING, servers={"sso": {}},
         config=f"[default]\nsso_session = corp\n{sso_session()}"),
    Case("SSO without a login", Fails("LoginRequired"), config=f"[default]\nsso_session = corp\n{SSO}{sso_session()}"),
    Case("SSO whose token is renewed", Session("demo/sso"), servers={"sso": {"login_seconds": 60}},
         config=f"[default]\nsso_session = corp\n{SSO}{sso_session()}"),
    Case("SSO without a session, whose token has ended", Fails("LoginRequired"),
         servers={"sso": {"login_seconds": -60}}, config=f"[default]\n{LEGACY}"),
    Case("a login that is renewed", Session("demo/signin"), config=f"[default]\n{LOGIN}",
         servers={"signin": {"login_seconds": 60}}),
    Case("a login that was never begun", Fails("LoginRequired"), config=f"[default]\n{LOGIN}"),
    Case("a login without a region", Session("demo/signin"), servers={"signin": {}},
         config=f"[default]\n{LOGIN}", environ={"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}),
)
# fmt: on


def process(
    name: str, gives: Outcome, answer: str = "", *, command: str = "cat <home>/answer.json", **more: Any
) -> Case:
    config = f"[default]\ncredential_process = {command}\n"
    return Case(name, gives, config=config, files={"answer.json": answer, "a b.json": document("AKIAA")}, **more)


# fmt: off
PROCESSES = (
    process("a process with a token", Keys("AKIAA", "AA"), document("AKIAA", SessionToken="AA")),
    process("a process with an empty token", Keys("AKIAA"), document("AKIAA", SessionToken="")),
    process("a process with a time to come", Keys("AKIAA", "AA"),
            document("AKIAA", SessionToken="AA", Expiration="<future>")),
    process("a process with a time that is past", Fails("CredentialsExpired"),
            document("AKIAA", SessionToken="AA", Expiration="<past>"), servers={"imds": {}}),
    process("a process with Version 2", Fails("CredentialsError"), document("AKIAA", Version=2)),
    process("a process with Version 1 as text", Fails("CredentialsError"), document("AKIAA", Version="1")),
    process("a process with Version 1.0", Fails("CredentialsError"), document("AKIAA", Version=1.0),
            botocore=Keys("AKIAA"), we_differ="Version is the whole number 1"),
    process("a process without a secret", Fails("CredentialsError"), '{"Version": 1, "AccessKeyId": "AKIAA"}'),
    process("a process that writes no JSON", Fails("CredentialsError"), "AKIAA", servers={"imds": {}}),
    process("a process that fails", Fails("CredentialsError"), command="false", servers={"imds": {}}),
    process("a process that is missing", Fails("CredentialsError"), command="<home>/nowhere", servers={"imds": {}}),
    process("a quoted word", Keys("AKIAA"), command="cat '<home>/a b.json'"),
    process("a word on the next line", Keys("AKIAA"), document("AKIAA"), command="cat\n  <home>/answer.json"),
    process("a pipe, which needs a shell", Fails("CredentialsError"), document("AKIAA"),
            command="cat <home>/answer.json | cat"),
    process("a variable, which needs a shell", Fails("CredentialsError"), document("AKIAA"),
            command="cat $HOME/answer.json"),
)
# fmt: on

FULL, RELATIVE = "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
AGENT_TOKEN, AGENT_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
WITH_TOKEN = {"container": {"token": "SENTINEL-agent"}}
CONTAINER = Session("demo/container")

# fmt: off
HOSTS = (
    Case("a container with a token", CONTAINER, servers=WITH_TOKEN),
    Case("a container with a wrong token", Fails("CredentialsError"), servers={**WITH_TOKEN, "imds": {}},
         environ={AGENT_TOKEN: "SENTINEL-wrong"}),
    Case("a container with a token file", CONTAINER, servers=WITH_TOKEN, files={"t": "SENTINEL-agent"},
         environ={AGENT_TOKEN: "SENTINEL-wrong", AGENT_TOKEN_FILE: "<home>/t"}),
    Case("a token file that ends with a line break", CONTAINER, botocore=FAILS, servers=WITH_TOKEN,
         we_differ="editors end files with a line break, which is no part of the token",
         files={"t": "SENTINEL-agent\n"}, environ={AGENT_TOKEN_FILE: "<home>/t"}),
    Case("a token file of two lines", Fails("CredentialsError"), servers={**WITH_TOKEN, "imds": {}},
         files={"t": "SENTINEL-agent\nx\n"}, environ={AGENT_TOKEN_FILE: "<home>/t"}),
    Case("a missing token file of a container", Fails("CredentialsError"), servers=WITH_TOKEN,
         environ={AGENT_TOKEN_FILE: "<home>/t"}),
    Case("an empty token file variable", CONTAINER, botocore=FAILS, we_differ=BLANK, servers=WITH_TOKEN,
         environ={AGENT_TOKEN_FILE: ""}),
    Case("a relative URI", CONTAINER, servers={"container": {}}, environ={FULL: "", RELATIVE: "/credentials"}),
    Case("a relative URI comes first", CONTAINER, servers={"container": {}},
         environ={FULL: "http://127.0.0.1:9/", RELATIVE: "/credentials"}),
    Case("an empty relative URI", CONTAINER, botocore=FAILS, we_differ=BLANK, servers={"container": {}},
         environ={RELATIVE: ""}),
    Case("an empty full URI", NOTHING, botocore=FAILS, we_differ=BLANK, environ={FULL: ""}),
    Case("a full URI of another host", Fails("InvalidEndpoint"), environ={FULL: "http://192.0.2.1/"},
         servers={"imds": {}}),
    Case("a container that answers 500", Fails("CredentialsError"), servers={"container": {}, "imds": {}},
         faults={"container": Answer(500, times=3)}),
    Case("a container without an agent", Fails("CredentialsError"), environ={FULL: "http://127.0.0.1:9/"},
         servers={"imds": {}}),
    Case("an instance that is off", NOTHING, servers={"imds": {}}, environ={"AWS_EC2_METADATA_DISABLED": "TRUE"}),
    Case("C15: an instance that is off by another word", NOTHING, botocore=Session("demo/imds"),
         we_differ="other words for true are not taken for false", servers={"imds": {}},
         environ={"AWS_EC2_METADATA_DISABLED": "1"}),
    Case("an instance that is off by no word", Fails("ConfigurationError"), botocore=Session("demo/imds"),
         we_differ="flags are true or false", servers={"imds": {}}, environ={"AWS_EC2_METADATA_DISABLED": "never"}),
    Case("C15: an instance with version 1, which is not disabled", Session("demo/imds"),
         servers={"imds": {"v1": True}}, faults=NO_TOKEN, environ={"AWS_EC2_METADATA_V1_DISABLED": "false"}),
    Case("C15: an instance with version 1, which is disabled", NOTHING, botocore=FAILS,
         we_differ="an instance that gives no token is none",
         servers={"imds": {"v1": True}}, faults=NO_TOKEN, config="[default]\nec2_metadata_v1_disabled = true\n"),
    Case("C15: an instance with version 1, which the profile does not disable", Session("demo/imds"),
         servers={"imds": {"v1": True}}, faults=NO_TOKEN, config="[default]\nec2_metadata_v1_disabled = false\n"),
    Case("an instance at an endpoint of the profile", Session("demo/imds"), servers={"imds": {}},
         environ={"AWS_EC2_METADATA_SERVICE_ENDPOINT": None},
         config="[default]\nec2_metadata_service_endpoint = <imds>/\n"),
    Case("an instance without a role", NOTHING, servers={"imds": {"role": None}}),
    Case("an instance with another role", Session("demo/imds"), servers={"imds": {"role": "x"}}),
    Case("no instance", NOTHING,
         environ={"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}),
    Case("an instance that keeps what has expired", Session("demo/imds"), servers={"imds": {"seconds": -60}}),
    Case("a role that EC2 may not assume", Fails("CredentialsError"), botocore=NOTHING, we_differ=STOPS,
         servers={"imds": {"code": "AssumeRoleUnauthorizedAccess"}}),
    Case("an instance that answers 500", Fails("CredentialsError"), botocore=NOTHING, we_differ=STOPS,
         servers={"imds": {}}, faults={"imds": Answer(500, times=9)}),
    Case("an instance with version 1 only", NOTHING, botocore=Session("demo/imds"), we_differ=NO_V1,
         servers={"imds": {"v1": True}}, faults=NO_TOKEN),
)
# fmt: on


def text(name: str, gives: Outcome, config: str, botocore: Outcome | None = None, **more: Any) -> Case:
    return Case(name, gives, config=config, botocore=botocore, we_differ="" if botocore is None else GRAMMAR, **more)


A, A_KEYS = Keys("AKIAA"), keys("AKIAA")
BROKEN = Fails("InvalidConfigFile")
# fmt: off
TEXTS = (
    text("a comment after a value", A, "[default]\n" + keys("AKIAA # mine"), Keys("AKIAA # mine")),
    text("a comment without white space before it", Keys("AKIAA;mine"), "[default]\n" + keys("AKIAA;mine")),
    text("comments on lines of their own", A, f"# a\n[default]\n; b\n{A_KEYS}# c\n"),
    text("C2: an indented comment", Keys("AKIAA", "AA"), f"[default]\n  # c\n{A_KEYS}aws_session_token = AA\n  # c\n"),
    text("a comment after a section", A, f"[default] ; mine\n{A_KEYS}"),
    text("a section of the config file without its prefix", BROKEN, f"[mine]\n{A_KEYS}", environ=MINE),
    text("a section of the credentials file with a prefix", BROKEN, "", credentials=f"[profile mine]\n{A_KEYS}",
         environ=MINE),
    text("[profile default] and then [default]", A, f"[profile default]\n{A_KEYS}[default]\n{keys('AKIAB')}",
         Keys("AKIAB")),
    text("[default] and then [profile default]", A, f"[default]\n{keys('AKIAB')}[profile default]\n{A_KEYS}"),
    text("blanks in the brackets", A, f"[ default ]\n{A_KEYS}", NOTHING),
    text("C7: quotes around the name of a profile", A, f'[profile "mine"]\n{A_KEYS}', environ=MINE),
    text("C7: a blank in the name of a profile", A, f"[profile 'my own']\n{A_KEYS}", environ={"AWS_PROFILE": "my own"}),
    text("C7: a blank in a name of the credentials file", A, "", credentials=f"[my own]\n{A_KEYS}",
         environ={"AWS_PROFILE": "my own"}),
    text("signs in the name of a profile", A, f"[profile a.b@c/d:e+f%g]\n{A_KEYS}",
         environ={"AWS_PROFILE": "a.b@c/d:e+f%g"}),
    text("a letter beyond ASCII in the name of a profile", BROKEN, f"[profile größe]\n{A_KEYS}", A,
         environ={"AWS_PROFILE": "größe"}),
    text("a section [DEFAULT]", NOTHING, "", A, credentials=f"[DEFAULT]\n{A_KEYS}[mine]\nregion = x\n", environ=MINE),
    text("quotes around a key", BROKEN, "[default]\n" + keys('"AKIAA"'), Keys('"AKIAA"')),
    text("per cent signs", Keys("AKIAA", "%(a)s%%"), f"[default]\n{A_KEYS}aws_session_token = %(a)s%%\n"),
    text("an equals sign in a value", Keys("AKIAA", "a=="), f"[default]\n{A_KEYS}aws_session_token=a==\n"),
    text("keys in upper case", A, f"[default]\n{A_KEYS.replace('aws_access_key_id', 'AWS_ACCESS_KEY_ID')}"),
    text("a colon in the place of the equals sign", BROKEN,
         f"[default]\naws_access_key_id: A\naws_secret_access_key: {SECRET}\n", Keys("A")),
    text("a property that is indented", BROKEN,
         f"[default]\n  aws_access_key_id = A\n  aws_secret_access_key = {SECRET}\n", Keys("A")),
    text("C8: a secret that goes on", BROKEN, f"[default]\n{A_KEYS}aws_session_token = AA\n  BB\n",
         Keys("AKIAA", "AA\nBB")),
    text("a property twice", A, "[default]\naws_access_key_id = AKIAB\n" + A_KEYS, FAILS),
    text("a section twice", A, f"[default]\naws_access_key_id = AKIAA\n[default]\naws_secret_access_key = {SECRET}\n",
         FAILS),
    text("sub-properties", A, f"[default]\ns3 =\n  aws_access_key_id = AKIAB\n{A_KEYS}"),
    text("a sub-property without an equals sign", BROKEN, f"[default]\ns3 =\n  nothing\n{A_KEYS}"),
    text("a key with a blank", A, f"[default]\nmy key = x\n{A_KEYS}"),
    text("a line without an equals sign", BROKEN, f"[default]\n{A_KEYS}nothing\n"),
    text("a property before any section", BROKEN, f"region = x\n[default]\n{A_KEYS}"),
    text("a section without its end", BROKEN, f"[default\n{A_KEYS}"),
    text("line ends of Windows", A, f"[default]\n{A_KEYS}".replace("\n", "\r\n")),
    text("C9: a byte order mark", A, f"\ufeff[default]\n{A_KEYS}", FAILS),
    text("C9: a line of blanks beyond ASCII", A, f"[default]\n\xa0\u3000\n{A_KEYS}\f\n"),
    Case("a broken file beside keys in the environment", Keys("AKIAENV"), botocore=FAILS, we_differ=NOT_NEEDED,
         config="[default\n", environ=environment()),
)
# fmt: on

CASES = (
    *ALONE,
    *PAIRS,
    *NAMES,
    *VARIABLES,
    *KEYS_OF_PROFILES,
    *ROLES,
    *WEB_IDENTITIES,
    *SESSIONS,
    *PROCESSES,
    *HOSTS,
    *TEXTS,
)
