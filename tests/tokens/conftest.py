"""The oracle of the tests of tokens is botocore, which logs what it signs, and each event within it."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet_oracle() -> Iterator[None]:
    logger = logging.getLogger("botocore")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)
