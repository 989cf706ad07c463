"""`sts-async eks-token` and `sts-async console-url`: what they print is accepted, and nothing else is printed."""

import asyncio
import json
import os
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from aiohttp import web
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from documents import DOCUMENTS
from patience import soon
from support import ROLE, RawServer, http
from tokens.cases import frozen, url_in
from tokens.replays import as_a_cluster
from web_apps import serving

from sts_async import cli
from sts_async._cli.token_options import EPILOG_EKS
from sts_async.testing import LocalSTS

REGION = "eu-west-1"
EKS = ("eks-token", "--cluster-name", "production")
SESSION = "arn:aws:sts::123456789012:assumed-role/demo/sts-async"
SIGNIN_TOKEN = "SENTINEL-signin-token_1"
ANSWER = http(json.dumps({"SigninToken": SIGNIN_TOKEN}))

Run = Callable[..., Awaitable[tuple[int, str, str]]]
Start = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalSTS]:
    """Run an STS, and have the environment lead to it, with the keys of a user."""
    async with LocalSTS(region=REGION) as running:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", running.credentials.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str.__str__(running.credentials.secret_access_key))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", running.url)
        monkeypatch.setenv("AWS_REGION", REGION)
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in a thread, which has an event loop of its own."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        status = await soon(asyncio.to_thread(cli.main, arguments))
        return status, *capsys.readouterr()

    return run


# -- eks-token ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1beta1", None])
async def test_the_answer_has_the_version_that_kubectl_asks_for(
    run: Run, server: LocalSTS, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    if version is not None:
        asked = {"kind": "ExecCredential", "apiVersion": f"client.authentication.k8s.io/{version}", "spec": {}}
        monkeypatch.setenv("KUBERNETES_EXEC_INFO", json.dumps(asked))

    status, out, err = await run(*EKS)

    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert answer["apiVersion"] == f"client.authentication.k8s.io/{version or 'v1beta1'}"
    assert {*answer["status"]} == {"expirationTimestamp", "token"}
    assert not [*server.requests]


async def test_a_version_that_no_longer_exists_is_refused(
    run: Run, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old kubeconfig files name it."""
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", '{"apiVersion": "client.authentication.k8s.io/v1alpha1"}')

    status, out, err = await run(*EKS)

    assert (status, out) == (1, "")
    assert "set apiVersion of the exec plugin in the kubeconfig file" in err


@pytest.mark.parametrize("option", ["--cluster-name", "--cluster-id"])
async def test_the_signature_is_that_of_botocore(run: Run, server: LocalSTS, option: str) -> None:
    _, out, _ = await run("eks-token", option, "production")

    url = url_in(json.loads(out)["status"]["token"], "k8s-aws-v1.")
    at = datetime.strptime(dict(parse_qsl(urlsplit(url).query))["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = AWSRequest(
        method="GET",
        url="https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": "production"},
    )
    keys = TheirCredentials(server.credentials.access_key_id, str.__str__(server.credentials.secret_access_key))
    with frozen(at):
        SigV4QueryAuth(keys, "sts", REGION, expires=60).add_auth(request)
    assert url == request.url


async def test_a_role_signs_the_token_and_the_cluster_learns_that(run: Run, server: LocalSTS) -> None:
    status, out, err = await run(*EKS, "--role-arn", ROLE, "--role-session-name", "me")
    answer = json.loads(out)["status"]

    assert (status, err) == (0, "")
    assert [request.operation for request in server.requests] == ["AssumeRole"]
    _, text = await as_a_cluster(server, answer["token"], "production")
    assert f"<Arn>{SESSION.replace('sts-async', 'me')}<" in text
    assert (await as_a_cluster(server, answer["token"], "another"))[0] == 403


async def test_fips_is_an_option_of_the_client(run: Run, server: LocalSTS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    _, out, _ = await run(*EKS, "--use-fips-endpoint")

    url = url_in(json.loads(out)["status"]["token"], "k8s-aws-v1.")
    assert urlsplit(url).hostname == "sts-fips.eu-west-1.amazonaws.com"


@pytest.fixture
async def cluster(server: LocalSTS) -> AsyncIterator[str]:
    """Run an API server that asks STS who signed a token, and has one pod with the answer as its name."""

    async def answer(request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        status, text = await as_a_cluster(server, token, "production")
        assert (scheme, status) == ("Bearer", 200)
        pod = {"metadata": {"name": text.partition("<Arn>")[2].partition("<")[0]}}
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]})

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", answer)
    async with serving(app) as url:
        yield url


def test_the_manual_shows_the_user_of_the_help() -> None:
    stanza = textwrap.dedent(EPILOG_EKS.partition("\n")[2])

    assert stanza in DOCUMENTS["sts_async/tokens/README.md"]


@pytest.mark.slow
async def test_the_user_of_the_help_works_with_a_client_of_kubernetes(
    server: LocalSTS, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client runs the command as its credential plugin, as kubectl does."""
    kubernetes: Any = pytest.importorskip("kubernetes", reason="kubernetes is not installed")
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML is not installed")
    stanza = yaml.safe_load(EPILOG_EKS.partition("\n")[2])
    (user,) = stanza["users"]
    user["user"]["exec"]["args"] += ["--role-arn", ROLE]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": cluster}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": user["name"]}}],
        "current-context": "x",
        **stanza,
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def names() -> list[str]:
        with kubernetes.config.new_client_from_config(str(tmp_path / "kubeconfig")) as api:
            return [pod.metadata.name for pod in kubernetes.client.CoreV1Api(api).list_namespaced_pod("default").items]

    assert await soon(asyncio.to_thread(names)) == [SESSION]


# -- console-url -------------------------------------------------------------------------------------------------------


async def test_only_the_url_is_printed(run: Run, server: LocalSTS, raw_server: Start) -> None:
    signin = await raw_server(ANSWER)

    status, out, err = await run("console-url", "--role-arn", ROLE, "--signin-url", f"{signin.url}federation")

    assert (status, err) == (0, "")
    assert out == (
        f"{signin.url}federation?Action=login&Destination=https%3A%2F%2Feu-west-1.console.aws.amazon.com%2F"
        f"&SigninToken={SIGNIN_TOKEN}\n"
    )
    (request,) = signin.requests
    session = json.loads(parse_qs(request.decode().partition("\r\n\r\n")[2])["Session"][0])
    holder = server._directory.holder(session["sessionId"])
    assert holder is not None
    assert session["sessionToken"] == holder.credentials.session_token


async def test_all_options_are_used(run: Run, server: LocalSTS, raw_server: Start) -> None:
    signin = await raw_server(ANSWER)
    status, out, _ = await run(
        *("console-url", "--role-arn", ROLE, "--signin-url", signin.url, "--session-duration", "3600"),
        *("--destination", "/s3/buckets", "--issuer", "https://login.example.com/"),
    )

    query = parse_qs(urlsplit(out.strip()).query)
    assert status == 0
    assert query["Issuer"] == ["https://login.example.com/"]
    assert query["Destination"] == ["https://eu-west-1.console.aws.amazon.com/s3/buckets"]
    assert b"&SessionDuration=3600" in signin.requests[0]


async def test_credentials_come_from_a_profile_as_well(
    run: Run, server: LocalSTS, raw_server: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The region decides about the partition."""
    signin = await raw_server(ANSWER)
    (tmp_path / "config").write_text(
        f"[profile admin]\nrole_arn = {ROLE}\ncredential_source = Environment\nregion = eu-west-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_REGION")
    options = ("--signin-url", signin.url, "--destination", "/")

    _, out, err = await run("console-url", "--profile", "admin", *options)
    refused = await run("console-url", "--profile", "admin", *options[:3], "https://console.amazonaws.cn/")

    assert err == ""
    assert "Destination=https%3A%2F%2Feu-west-1.console.aws.amazon.com%2F&" in out
    assert refused[2].startswith("sts-async: --destination must be a path, or a URL in aws.amazon.com: ")
    assert len(signin.requests) == 1


async def test_keys_of_a_user_need_a_role(run: Run, server: LocalSTS, raw_server: Start) -> None:
    """C18: and with one, it works."""
    signin = await raw_server(ANSWER)
    options = ("console-url", "--signin-url", signin.url)

    status, out, err = await run(*options)

    assert (status, out) == (1, "")
    assert err == "sts-async: the console needs temporary credentials: pass --role-arn ARN\n"
    assert signin.requests == []
    assert (await run(*options, "--role-arn", ROLE))[0] == 0


async def test_credentials_of_a_local_sts_are_not_sent_to_aws(run: Run, raw_server: Start) -> None:
    """A stand-in of the sign-in service can have them."""
    signin = await raw_server(ANSWER)
    local = ("--local", "console-url", "--role-arn", ROLE)

    status, out, err = await run(*local)

    assert (status, out) == (2, "")
    assert "--local needs --signin-url" in err
    assert (await run(*local, "--signin-url", signin.url))[0] == 0


# -- Both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eks-token"], "the following arguments are required: --cluster-name/--cluster-id"),
        (["eks-token", "--cluster-name", "SENTINEL!"], "--cluster-name must be the name of a cluster"),
        ([*EKS, "--role-arn", "SENTINEL"], "--role-arn must be an ARN such as arn:aws:iam::123456789012:role/name"),
        ([*EKS, "--role-arn", ROLE, "--duration-seconds", "5"], "--duration-seconds must be 900 to 43200 s"),
        ([*EKS, "--external-id", "SENTINEL"], "--external-id needs --role-arn"),
        (["console-url", "--role-arn", ROLE, "--session-duration", "5"], "--session-duration must be a whole number"),
        (["console-url", "--role-arn", ROLE, "--issuer", "SENTINEL"], "--issuer must be a URL that begins with https"),
        (["console-url", "--role-arn", ROLE, "--signin-url", "http://a.example/"], "--signin-url must begin with"),
        (["console-url", "--session-duration", "SENTINEL"], "--session-duration: must be a whole number"),
    ],
    ids=lambda part: " ".join(part)[:50] if isinstance(part, list) else "",
)
async def test_a_mistake_is_one_line_that_names_the_option(
    run: Run, server: LocalSTS, arguments: list[str], message: str
) -> None:
    """E7."""
    status, out, err = await run(*arguments)

    assert status in (1, 2)
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert "timedelta" not in err


async def test_a_missing_region_is_named_with_all_places_for_it(
    run: Run, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token for another region would be refused without a reason."""
    monkeypatch.delenv("AWS_REGION")

    status, out, err = await run(*EKS)

    assert (status, out) == (1, "")
    assert err.startswith("sts-async: no region: pass --region NAME, set AWS_REGION or AWS_DEFAULT_REGION, or set")
    assert (await run(*EKS, "--region", REGION))[0] == 0
