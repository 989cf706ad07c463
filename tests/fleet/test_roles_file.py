"""Files of roles: every text is read, what is written is read back, and each problem is named with its line."""

import json
import re
import shlex
from typing import Any

import pytest
from documents import DOCUMENTS, blocks, section
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sts_async.fleet import _role_lines
from sts_async.fleet.identities import MAX_CHAIN, ChainedRequest, check_identity
from sts_async.fleet.roles_file import Problem, RolesFile, read_roles
from sts_async.shapes import (
    AssumeRoleRequest,
    AssumeRootRequest,
    GetFederationTokenRequest,
    GetScopedCredentialsRequest,
    GetSessionTokenRequest,
)

DEMO = "arn:aws:iam::123456789012:role/demo"
DATA = "arn:aws:iam::210987654321:role/path/data"
TASK = "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials"
SENTINEL = "SENTINEL-7f3a"


def role(arn: str = DEMO, session: str = "sts-async", **members: Any) -> AssumeRoleRequest:
    return AssumeRoleRequest(role_arn=arn, role_session_name=session, **members)


def shown(found: RolesFile) -> list[str]:
    return [str(problem) for problem in found.problems]


# -- Lines that are right ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "identity"),
    [
        (DEMO, "demo", role()),
        (f"  {DATA}\t", "data", role(DATA)),
        (f"{DEMO} name=x session=me", "x", role(session="me")),
        (f"{DEMO} duration=900 DURATION-SECONDS=", "", "duration-seconds is given twice"),
        (f"{DEMO} role_session_name=me duration-seconds=900", "demo", role(session="me", duration_seconds=900)),
        (f"{DEMO} external-id=a:b/c # a 'comment", "demo", role(external_id="a:b/c")),
        (f"{DEMO} external-id=ab #comment", "demo", role(external_id="ab")),
        (f"{DEMO} tags='team=a b,env=x=y'", "demo", role(tags={"team": "a b", "env": "x=y"})),
        (f"{DEMO} tags= policy-arns=", "demo", role()),
        (f'{DEMO} policy="{{\\"a\\": 1}}"', "demo", role(policy='{"a": 1}')),
        (f"{DEMO} policy='{{\"a\": \"#1\"}}'", "demo", role(policy='{"a": "#1"}')),
        (f"{DEMO} policy-arns={DEMO},{DATA}", "demo", role(policy_arns=[DEMO, DATA])),
        (f"{DEMO} transitive-tag-keys=a,b", "demo", role(transitive_tag_keys=["a", "b"])),
        (f"{DEMO} source-identity=me minimum-session-token-size=1", "demo",
         role(source_identity="me", minimum_session_token_size=1)),
        (json.dumps({"RoleArn": DEMO}), "demo", role()),
        (json.dumps({"Operation": "AssumeRole", "RoleArn": DEMO, "RoleSessionName": "me", "Name": "x"}), "x",
         role(session="me")),
        (json.dumps({"RoleArn": DEMO, "Tags": {"team": "a"}, "ExternalId": None}), "demo", role(tags={"team": "a"})),
        (json.dumps({"RoleArn": DEMO, "Tags": [{"Key": "team", "Value": "a"}]}), "demo", role(tags={"team": "a"})),
        (json.dumps({"RoleArn": DEMO, "PolicyArns": [DATA, {"arn": DEMO}]}), "demo", role(policy_arns=[DATA, DEMO])),
        (json.dumps({"RoleArn": DEMO, "Policy": {"a": 1}, "DurationSeconds": 900}), "demo",
         role(policy='{"a":1}', duration_seconds=900)),
        (json.dumps({"Operation": "GetSessionToken"}), "session-token", GetSessionTokenRequest()),
        (json.dumps({"Operation": "GetFederationToken", "Name": "bob"}), "bob", GetFederationTokenRequest(name="bob")),
        (json.dumps({"Operation": "GetScopedCredentials", "Name": "x"}), "x", GetScopedCredentialsRequest()),
        (json.dumps({"Operation": "AssumeRoot", "TargetPrincipal": "123456789012", "TaskPolicyArn": TASK}),
         "root@123456789012", AssumeRootRequest(target_principal="123456789012", task_policy_arn=TASK)),
        (json.dumps({"Operation": "AssumeRoot", "TargetPrincipal": "arn:aws:iam::123456789012:root",
                     "TaskPolicyArn": {"arn": TASK}}), "root@123456789012",
         AssumeRootRequest(target_principal="arn:aws:iam::123456789012:root", task_policy_arn=TASK)),
        (json.dumps({"Operation": "AssumeRoot", "TargetPrincipal": "somebody-else", "TaskPolicyArn": TASK}),
         "root@other", AssumeRootRequest(target_principal="somebody-else", task_policy_arn=TASK)),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_is_an_identity_with_a_name(line: str, name: str, identity: Any) -> None:
    """The members have the names of the API in JSON, and those of the command line elsewhere."""
    found = read_roles(line)

    if isinstance(identity, str):
        assert shown(found) == [f"line 1: {identity}"]
    else:
        assert (found.problems, dict(found.identities)) == ((), {name: identity})


def test_comments_blank_lines_and_both_kinds_of_line_ends_are_read() -> None:
    """Editors of all systems write such files. Problems have the number that an editor shows."""
    found = read_roles(f"\ufeff# roles\r\n\r\n \t\n{DEMO}\r\n  # end\n{DATA} name=d\r\nwrong")

    assert dict(found.identities) == {"demo": role(), "d": role(DATA)}
    assert found.problems == (
        Problem(7, "the line must begin with an ARN such as arn:aws:iam::123456789012:role/name, or be a JSON object"),
    )


def test_an_identity_is_obtained_through_another_one() -> None:
    """The order of the lines does not matter, and the middle one is an identity, too."""
    lines = [
        json.dumps({"Operation": "GetScopedCredentials", "Through": "data"}),
        f"{DATA} through=hub",
        f"{DEMO} name=hub",
    ]
    hub = role()
    data = ChainedRequest(role(DATA), source=hub)
    expected = {
        "scoped-credentials": ChainedRequest(GetScopedCredentialsRequest(), source=data),
        "data": data,
        "hub": hub,
    }

    found = read_roles("\n".join(lines))

    assert (dict(found.identities), found.problems) == (expected, ())
    assert [*found.identities] == [*expected]


def test_a_derived_name_is_as_long_as_it_must_be() -> None:
    """Also for identities whose short name is the given name of another one, in any order."""
    lines = [
        "arn:aws:iam::111111111111:role/audit",
        "arn:aws:iam::222222222222:role/audit",
        "arn:aws:iam::222222222222:role/audit session=bb",
        "arn:aws:iam::333333333333:role/x",
        "arn:aws:iam::444444444444:role/y name=x",
        "arn:aws:iam::555555555555:role/z name=z@666666666666",
        "arn:aws:iam::666666666666:role/z",
        "arn:aws:iam::777777777777:role/z",
    ]
    names = [
        "audit@111111111111",
        "audit@222222222222@sts-async",
        "audit@222222222222@bb",
        "x@333333333333",
        "x",
        "z@666666666666",
        "z@666666666666@sts-async",
        "z@777777777777",
    ]

    assert [*read_roles("\n".join(lines)).identities] == names
    assert [*read_roles("\n".join(reversed(lines))).identities] == names[::-1]


def test_the_file_in_the_documents_is_read() -> None:
    """Its table names every option of a line."""
    text = DOCUMENTS["sts_async/fleet/README.md"]
    (lines,) = blocks(text, "")
    found = read_roles(lines)
    members = [member for member in AssumeRoleRequest.__members__ if not _role_lines._refusal(member)]
    options = {_role_lines._as_option(member.name) for member in members} - {"role-arn"}

    assert [*found.identities] == ["hub", "data@210987654321", "data@345678901234", "audit", "narrow"]
    assert found.problems == ()
    told = set(re.findall(r"`([a-z-]+)`", section(text, "Command line: a file of roles")))
    assert options | {"name", "through"} <= told


# -- Lines that are wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problems"),
    [
        ("hello", ["the line must begin with an ARN such as arn:aws:iam::123456789012:role/name, or be a JSON object"]),
        (f"{DEMO} 'x", ["a quotation mark is not closed, or nothing follows a backslash"]),
        (f"{DEMO} x\\", ["a quotation mark is not closed, or nothing follows a backslash"]),
        ("arn:aws:iam::123:role/x", ["the ARN of the role must be an ARN such as arn:aws:iam::123456789012:role/name"]),
        (f"{DEMO} {SENTINEL} =x 1=2", [f"word {number} is not KEY=VALUE" for number in (2, 3, 4)]),
        (f"{DEMO} sesion={SENTINEL}", ["sesion is not an option of a role (did you mean session?)"]),
        (f"{DEMO} zzz={SENTINEL}", ["zzz is not an option of a role"]),
        (f"{DEMO} role-arn={DEMO}", ["role-arn is given twice"]),
        (f"{DEMO} name=a name=b", ["name is given twice"]),
        (f"{DEMO} name='a {SENTINEL}'", [f"name must {_role_lines.NAME_RULE}"]),
        (f"{DEMO} name=-x through=", [f"name must {_role_lines.NAME_RULE}", f"through must {_role_lines.NAME_RULE}"]),
        (f"{DEMO} duration=1h session=x",
         ["duration must be a whole number"]),
        (f"{DEMO} duration=1 session=x",
         ["session must have a length of 2 to 64", "duration must be 900 to 43200 s"]),
        (f"{DEMO} session='{SENTINEL} x'", ["session must have only A-Z a-z 0-9 _ + = , . @ -"]),
        (f"{DEMO} tags=team", ["tags must be different tags such as team=a, with commas between them"]),
        (f"{DEMO} tags=a=1,a=2", ["tags must be different tags such as team=a, with commas between them"]),
        (f"{DEMO} tags=a=!", ["tags[0].value must have only letters, digits, spaces and _ . : / = + - @"]),
        (f"{DEMO} token-code={SENTINEL}", ["token-code is for MFA codes, which a refresh in the background cannot ask "
                                           "for"]),
        (f"{DEMO} serial-number={SENTINEL}", ["serial-number is for MFA codes, which a refresh in the background "
                                              "cannot ask for"]),
        (f"{DEMO} provided-contexts={SENTINEL}", ["provided-contexts is a secret, and a file of roles has no secrets"]),
        (f'{DEMO} policy={{"Version": "{SENTINEL}", "Statement": []}} name=x',
         ["policy is not valid JSON: write it in single quotes, as in policy='{...}'"]),
        (f'{DEMO} Policy={{"Version":"{SENTINEL}"}}',
         ["policy is not valid JSON: write it in single quotes, as in policy='{...}'"]),
        ('{"RoleArn": ', ["the line is not valid JSON at character 12; an object must be on one line"]),
        ("{" * 10_000, ["the line is not valid JSON at character 2; an object must be on one line"]),
        ('{"a":' * 10_000, ["the line is not valid JSON; an object must be on one line"]),
        ('{"a": NaN}', ["the line is not valid JSON; an object must be on one line"]),
        ('{"a": %s}' % ("1" * 5000), ["the line is not valid JSON; an object must be on one line"]),
        ('{"RoleArn": "a", "RoleArn": "b"}', ["a member is written twice"]),
        ("{}", ["RoleArn is required"]),
        ('{"Operation": "GetCallerIdentity"}', ["Operation must be one of AssumeRole, AssumeRoot, GetFederationToken, "
                                                "GetScopedCredentials, GetSessionToken"]),
        ('{"Operation": ["AssumeRole"]}', ["Operation must be one of AssumeRole, AssumeRoot, GetFederationToken, "
                                           "GetScopedCredentials, GetSessionToken"]),
        ('{"Operation": "AssumeRoleWithSAML"}',
         ["AssumeRoleWithSAML needs an assertion, which is a secret, and a file of roles has no secrets"]),
        ('{"Operation": "AssumeRoleWithWebIdentity"}',
         ["AssumeRoleWithWebIdentity needs a token, which is a secret, and a file of roles has no secrets: to sign the "
          "requests with this role, set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"]),
        ('{"Operation": "GetFederationToken"}', ["Name is required"]),
        ('{"Operation": "GetFederationToken", "Name": "bob", "Through": "x"}',
         ["GetFederationToken needs the long-term keys of a user, so it cannot have Through"]),
        ('{"Operation": "GetFederationToken", "Name": 5}', ["Name must be text", f"Name must {_role_lines.NAME_RULE}"]),
        (json.dumps({"RoleArn": DEMO, SENTINEL: 1, "Role": 1}),
         ["the name of a member is not a member of AssumeRole",
          "Role is not a member of AssumeRole (did you mean RoleArn?)"]),
        (json.dumps({"RoleArn": DEMO, "name": SENTINEL, "external_id": SENTINEL, "duration": 900, "operation": "x"}),
         ["name is not a member of AssumeRole (did you mean Name?)",
          "the name of a member is not a member of AssumeRole (did you mean ExternalId?)",
          "duration is not a member of AssumeRole (did you mean DurationSeconds?)",
          "operation is not a member of AssumeRole (did you mean Operation?)"]),
        ('{"Operation": "GetSessionToken", "session": "x"}', ["session is not a member of GetSessionToken"]),
        (json.dumps({"RoleArn": 1, "DurationSeconds": True, "Policy": [], "Tags": {"a": 1}, "PolicyArns": [1]}),
         ["RoleArn must be text", "DurationSeconds must be a whole number", "Policy must be text or an object",
          "Tags must be a list", "PolicyArns[0] must be an object with arn"]),
        (json.dumps({"RoleArn": DEMO, "Tags": [{"Key": "a"}, 5], "PolicyArns": {"a": "b"}}),
         ["Tags[0] must be an object with Key and Value", "Tags[1] must be an object with Key and Value",
          "PolicyArns must be a list"]),
        (json.dumps({"RoleArn": DEMO, "Tags": [{"Key": "a", "Value": None}]}), ["Tags[0].value is required"]),
        (json.dumps({"RoleArn": DEMO, "PolicyArns": [{"arn": 5}]}), ["PolicyArns[0].arn must be text"]),
        (json.dumps({"RoleArn": DEMO, "RoleSessionName": "a\ud800b"}),
         ["RoleSessionName must have only A-Z a-z 0-9 _ + = , . @ -",
          "RoleSessionName must be text that UTF-8 can encode"]),
        (DEMO + " " * 65_536, ["the line is longer than 65,536 characters"]),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_all_problems_of_a_line_are_named_without_its_values(line: str, problems: list[str]) -> None:
    """T43: a line can hold a tenant's input, or by mistake a secret."""
    found = read_roles(f"# one\n{line}\n{DATA}")

    assert shown(found) == [f"line 2: {problem}" for problem in problems]
    assert dict(found.identities) == {"data": role(DATA)}
    assert SENTINEL not in str(found)


def test_contradictions_refuse_the_later_line_and_leave_the_rest() -> None:
    """Each message names both lines."""
    lines = [
        f"{DEMO} name=a",
        f"{DATA} name=a",
        f"{DEMO} name=b",
        f"{DEMO} name=a",
        DATA,
        DATA,
        f"{DATA} external-id=xy",
        f"{DATA} external-id=xyz",
    ]
    found = read_roles("\n".join(lines))

    assert dict(found.identities) == {"a": role(), "data@210987654321@sts-async": role(DATA)}
    assert shown(found) == [
        "line 2: line 1 already has the name 'a'",
        "line 3: the identity is that of line 1, under another name",
        "line 4: the identity of line 1 is repeated",
        "line 6: the identity of line 5 is repeated",
        "line 7: line 5 has the same role and session: give this line a name of its own",
        "line 8: line 5 has the same role and session: give this line a name of its own",
    ]


def test_the_advice_about_a_name_helps() -> None:
    """C18: the line with a name of its own is used."""
    found = read_roles(f"{DATA}\n{DATA} external-id=xy name=other")

    assert dict(found.identities) == {"data": role(DATA), "other": role(DATA, external_id="xy")}


def test_broken_chains_are_named_with_their_lines() -> None:
    """An identity whose chain is broken cannot be fetched, and the others can."""
    lines = [
        f"{DEMO} name=one through=two",
        f"{DEMO} name=two through=one",
        f"{DEMO} name=three through=one",
        f"{DEMO} name=self through=self",
        f"{DEMO} name=four through=tow",
        f"{DEMO} name=five through=four",
        f"{DEMO} name=six through=zzz",
        f"{DATA} name=short duration=1",
        "arn:aws:iam::123:role/bad name=bad",
        f"{DATA} through=bad",
        f"{DATA} name=hub",
    ]
    found = read_roles("\n".join(lines))

    assert dict(found.identities) == {"hub": role(DATA)}
    assert [text for text in shown(found) if not text.startswith(("line 8", "line 9"))] == [
        "line 1: through 'two': lines 1, 2 and 1 are a cycle",
        "line 2: through 'one': lines 2, 1 and 2 are a cycle",
        "line 3: through 'one': lines 1, 2 and 1 are a cycle",
        "line 4: through 'self': lines 4 and 4 are a cycle",
        "line 5: through 'tow', but no identity has this name (did you mean 'two'?)",
        "line 6: through 'four': in line 5, through 'tow', but no identity has this name (did you mean 'two'?)",
        "line 7: through 'zzz', but no identity has this name",
        "line 10: through 'bad', but line 9 has a problem",
    ]


def test_a_short_name_that_several_identities_share_is_no_name() -> None:
    """C18: the names in the message can be used."""
    roles = "arn:aws:iam::111111111111:role/hub\narn:aws:iam::222222222222:role/hub\n"
    found = read_roles(f"{roles}{DATA} through=hub")
    followed = read_roles(f"{roles}{DATA} through=hub@222222222222")

    assert shown(found) == ["line 3: the name 'hub' is not unique: use 'hub@111111111111' or 'hub@222222222222'"]
    assert len(followed.identities) == 3
    assert followed.problems == ()


def test_a_chain_has_a_longest_length() -> None:
    """The fleet accepts the longest chain of a file."""
    lines = [f"{DEMO} name=n0"]
    lines += [f"{DEMO} name=n{number} session=s{number} through=n{number - 1}" for number in range(1, MAX_CHAIN + 1)]
    found = read_roles("\n".join(lines))
    check_identity(found.identities[f"n{MAX_CHAIN - 1}"])

    assert len(found.identities) == MAX_CHAIN
    assert shown(found) == [f"line 17: through 'n15': more than {MAX_CHAIN} identities are chained"]


def test_roles_of_another_partition_are_refused() -> None:
    """A role cannot be assumed from another partition. The endpoint decides, else the most frequent one."""
    china = "arn:aws-cn:iam::333333333333:role/c"
    root = {"Operation": "AssumeRoot", "TaskPolicyArn": TASK, "TargetPrincipal": "arn:aws-cn:iam::333333333333:root"}
    third = f"{DEMO} name=third session=third"
    text = f"{china}\n{DEMO}\n{DATA}\n{json.dumps(root)}\n{json.dumps({'Operation': 'GetSessionToken'})}\n{third}"
    majority, given = read_roles(text), read_roles(text, partition="aws-cn")

    assert [*majority.identities] == ["demo", "data", "session-token", "third"]
    assert shown(majority) == [
        f"line {line}: the role is in the partition aws-cn, but most roles of the file are in aws" for line in (1, 4)
    ]
    assert [*given.identities] == ["c", "root@333333333333", "session-token"]
    assert shown(given) == [
        f"line {line}: the role is in the partition aws, but the endpoint is in aws-cn" for line in (2, 3, 6)
    ]


def test_accounts_that_are_not_allowed_are_refused() -> None:
    """T43: also the account of AssumeRoot. An identity without an account is allowed."""
    root = {"Operation": "AssumeRoot", "TaskPolicyArn": TASK, "TargetPrincipal": "333333333333"}
    text = f"{DEMO}\n{DATA}\n{json.dumps(root)}\n{json.dumps({'Operation': 'GetSessionToken'})}"
    found = read_roles(text, allowed_accounts=["123456789012"])

    assert [*found.identities] == ["demo", "session-token"]
    assert shown(found) == [
        f"line {line}: the account {account} is not allowed" for line, account in ((2, "210987654321"), (3, "3" * 12))
    ]


def test_roles_of_other_servers_are_read_on_request() -> None:
    """Ceph RGW and Dell ECS name roles differently."""
    lines = "arn:aws:iam:::role/ceph\nurn:ecs:iam::ns:role/dell\nurn:ecs:iam::other:role/dell\nurn:sgws:iam::55555:x/!"

    assert len(read_roles(lines).problems) == 4
    found = read_roles(lines, strict_arns=False)
    assert [*found.identities] == ["ceph", "dell@other@sts-async", "role"]
    assert shown(found) == ["line 3: line 2 has the same role and session: give this line a name of its own"]


# -- Any text ----------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [DEMO, DATA, " ", "\n", "\r\n", "#", "'", '"', "\\", "=", ",", "name=", "through=", "a", "tags=", "duration=",
     "{", "}", '"RoleArn":', f'"{DEMO}"', '"Tags":', "[", "]", '"Operation":', '"AssumeRoot"', "null", "\x00", "\ufeff"]
)  # fmt: skip


@given(st.text() | st.lists(PIECES).map("".join), st.booleans())
@example("\x00", True)
@example("\ud800", False)
@example("{" + "[" * 5_000, True)
@example("''", False)
@example(f"{DEMO} " + "'" * 60_001, True)
@example(f"{DEMO} " + '"\\' * 30_000, True)
@example(f"{DEMO} " + "a'b\"" * 15_000, True)
def test_every_text_is_read(text: str, strict: bool) -> None:
    """No text raises an error, and every identity that is found is one that the fleet accepts."""
    found = read_roles(text, strict_arns=strict)

    assert len({*found.identities.values()}) == len(found.identities)
    assert all(_role_lines.is_name(name) for name in found.identities)
    assert [problem.line for problem in found.problems] == sorted(problem.line for problem in found.problems)
    for identity in found.identities.values():
        check_identity(identity, strict_arns=strict)


NAMES = st.from_regex(r"\A(?!-)[A-Za-z0-9_+=,.@-]{1,32}\Z")
SESSIONS = st.from_regex(r"\A[A-Za-z0-9_+=,.@-]{2,64}\Z")
TAG_TEXT = st.text(st.sampled_from("abcXYZ019 _.:/+-@é"), min_size=1, max_size=20)
ACCOUNTS = st.from_regex(r"\A[0-9]{12}\Z")
POLICIES = st.dictionaries(st.sampled_from(["Version", "a#b"]), st.text("abc'\"\\ #\u00e9", max_size=9), min_size=1)


@st.composite
def requests(draw: st.DrawFn) -> AssumeRoleRequest:
    return AssumeRoleRequest(
        role_arn=f"arn:aws:iam::{draw(ACCOUNTS)}:role/{draw(st.sampled_from(['demo', 'a/b/audit', 'x@y']))}",
        role_session_name=draw(SESSIONS),
        policy=draw(st.none() | POLICIES),
        policy_arns=draw(st.lists(st.just(DEMO) | st.just(DATA), max_size=3)),
        duration_seconds=draw(st.none() | st.integers(900, 43_200)),
        tags=draw(st.dictionaries(TAG_TEXT, TAG_TEXT, max_size=3)),
        external_id=draw(st.none() | st.from_regex(r"\A[A-Za-z0-9_+=,.@:/-]{2,40}\Z")),
    )


def in_words(request: AssumeRoleRequest, **more: str) -> str:
    """Return a request as a line of words."""
    given = {
        "session": request.role_session_name,
        "policy": request.policy,
        "policy-arns": ",".join(str(policy.arn) for policy in request.policy_arns),
        "duration": request.duration_seconds,
        "tags": ",".join(f"{tag.key}={tag.value}" for tag in request.tags),
        "external-id": request.external_id,
        **more,
    }
    words = [f"{key}={shlex.quote(str(value))}" for key, value in given.items() if value not in (None, "")]
    return " ".join([request.role_arn, *words])


def in_json(request: AssumeRoleRequest, **more: str) -> str:
    """Return a request as a JSON object."""
    given = {
        "RoleArn": request.role_arn,
        "RoleSessionName": request.role_session_name,
        "Policy": request.policy,
        "PolicyArns": [{"arn": policy.arn} for policy in request.policy_arns],
        "DurationSeconds": request.duration_seconds,
        "Tags": [{"Key": tag.key, "Value": tag.value} for tag in request.tags],
        "ExternalId": request.external_id,
        **{key.capitalize(): value for key, value in more.items()},
    }
    return json.dumps({key: value for key, value in given.items() if value is not None})


@settings(max_examples=40)
@given(
    st.dictionaries(NAMES, requests(), min_size=1, max_size=6), st.data(), st.sampled_from(["\n", "\r\n", "\n\n# x\n"])
)
def test_everything_that_is_written_is_read_back(named: dict[str, AssumeRoleRequest], data: Any, end: str) -> None:
    """T42: in both forms, in any order, each member of each request and each chain."""
    expected: dict[str, Any] = {}
    lines = []
    for name, request in named.items():
        through = data.draw(st.sampled_from([None, *expected]))
        chained = {} if through is None else {"through": through}
        identity = request if through is None else ChainedRequest(request, source=expected[through])
        if identity in expected.values():
            continue
        expected[name] = identity
        write = data.draw(st.sampled_from([in_words, in_json]))
        lines.append(write(request, name=name, **chained))
    found = read_roles(end.join(data.draw(st.permutations(lines))))

    assert found.problems == ()
    assert dict(found.identities) == expected


@settings(max_examples=40)
@given(st.lists(requests(), min_size=1, max_size=8, unique=True))
def test_identities_without_names_get_names_of_their_own(roles: list[AssumeRoleRequest]) -> None:
    """The order of the lines does not change a name, unless lines share even their longest name."""
    lines = [in_words(request) for request in roles]
    forward, backward = read_roles("\n".join(lines)), read_roles("\n".join(reversed(lines)))

    assert len(forward.identities) + len(forward.problems) == len(roles)
    if not forward.problems:
        assert dict(forward.identities) == dict(backward.identities)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            f"arn:aws:iam::123456789012:role/demo {' '.join(f'wrong{number}=x' for number in range(3_000))}",
            "the line has more than 40 options",
        ),
        (json.dumps({f"Wrong{number}": 1 for number in range(3_000)}), "the object has more than 40 members"),
    ],
    ids=["options", "members"],
)
def test_a_line_with_thousands_of_wrong_options_is_one_problem(line: str, problem: str) -> None:
    """T37: otherwise, a file of 8 MiB has two million problems, each with a search for a similar name."""
    assert [found.text for found in read_roles(line).problems] == [problem]
