"""What the tests of `export-credentials` share: a home with profiles, an STS, and runs of the command."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from sts_async import Credentials
from sts_async.__main__ import main
from sts_async.testing import LocalSTS

ROLE = "arn:aws:iam::123456789012:role/demo"
PROFILES = """\
[profile base]
aws_access_key_id = {key}
aws_secret_access_key = {secret}
[profile data]
role_arn = arn:aws:iam::123456789012:role/demo
source_profile = base
[profile far]
role_arn = arn:aws:iam::210987654321:role/far
source_profile = data
"""


@attrs.define
class Run:
    """The outcome of one command."""

    status: int
    out: str
    err: str

    @property
    def members(self) -> dict[str, Any]:
        assert (self.status, self.err, self.out.count("\n")) == (0, "", 1)
        return dict(json.loads(self.out))

    @property
    def key(self) -> str:
        return str(self.members["AccessKeyId"])


@attrs.define
class Export:
    """Runs ``export-credentials`` in this process, as the program does."""

    server: LocalSTS
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def home(self) -> Path:
        return Path(os.environ["HOME"])

    @property
    def cache(self) -> Path:
        return self.home / ".cache/sts-async/credentials"

    @property
    def calls(self) -> int:
        return len(self.server.requests)

    def write_config(self, text: str = PROFILES) -> None:
        path = self.home / ".aws/config"
        path.parent.mkdir(exist_ok=True)
        keys = self.server.credentials
        secret = str.__str__(keys.secret_access_key)
        path.write_text(text.replace("{key}", keys.access_key_id).replace("{secret}", secret))

    def __call__(self, *arguments: str) -> Run:
        self.monkeypatch.setattr(sys, "argv", ["sts-async", "export-credentials", *arguments])
        self.capsys.readouterr()
        status = main()
        out, err = self.capsys.readouterr()
        return Run(status, out, err)

    def principal(self, key: str) -> str:
        """Return the ARN that a printed access key belongs to."""
        owner = self.server.principal(Credentials(access_key_id=key, secret_access_key="x"))
        assert owner is not None
        return owner.arn

    def entries(self) -> list[Path]:
        """Return what was printed before."""
        return sorted(self.cache.glob("exported/??/*.json"))

    def shared(self) -> list[Path]:
        """Return the entries that a fleet shares."""
        return sorted(self.cache.glob("??/*.json"))

    def age(self, seconds: float) -> None:
        """Let time pass for all entries: each was issued, and ends, so many seconds earlier."""

        def earlier(text: str) -> str:
            return (datetime.fromisoformat(text) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

        for path in [*self.entries(), *self.shared()]:
            document = json.loads(path.read_text())
            for name in ("Issued", "RefreshAt", "Ends"):
                if isinstance(document.get(name), float):
                    document[name] -= seconds
                elif name in document:
                    document[name] = earlier(document[name])
            document["Credentials"]["Expiration"] = earlier(document["Credentials"]["Expiration"])
            path.write_text(json.dumps(document))


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Export]:
    with LocalSTS() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        export = Export(server, capsys, monkeypatch)
        export.write_config()
        yield export
