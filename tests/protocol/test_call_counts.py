"""
How many functions of this library a usual call runs to write its body and to read its response.

Each costs some 0.1 microseconds beside its work. A bound is the number of today: a change that needs one more says why,
and raises it.
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from support import ANSWER, ROLE, START

import sts_async
from sts_async import shapes
from sts_async._protocol.http_messages import HttpResponse
from sts_async._protocol.query import encode
from sts_async._protocol.response import read
from sts_async._shape.secret import SecretBytes
from sts_async.operations import ASSUME_ROLE

PACKAGE = str(Path(sts_async.__file__).parent)
REQUEST = shapes.AssumeRoleRequest(role_arn=ROLE, role_session_name="me")


def functions_of(work: Callable[[], object]) -> Counter[str]:
    """Return how often a second run of *work* enters each function of the library."""
    found: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[frame.f_code.co_name] += 1

    work()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


def test_a_body_is_written_by_six_functions() -> None:
    """One for the body, one for its members, and for each of the two members a test and the percent-encoding."""
    found = functions_of(lambda: encode(ASSUME_ROLE, REQUEST))

    assert found == {"encode": 1, "_append_members": 1, "admits": 2, "quote": 2}


def test_a_response_is_read_by_fourteen_functions() -> None:
    """One for each structure, and none for a text or a number. Three check and hide the keys."""
    response = HttpResponse(200, {}, SecretBytes(ANSWER.encode()))
    found = functions_of(lambda: read(ASSUME_ROLE, response, sent_at=START, sent=(REQUEST, None)))

    assert found["read_element"] == 3
    assert found.total() <= 14, found
