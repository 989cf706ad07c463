"""Encrypted entries: what is encrypted is decrypted, by the right key and for the right identity alone."""

import base64
import builtins
import json
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from documents import ROOT
from fleet.caches.cases import KEY, KEYS, NOW, issued, key_of
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from reporters import REPORTERS

from sts_async import CachedCredentials, CacheKey, EncryptionKeys
from sts_async.errors import ConfigurationError
from sts_async.fleet.caches import _encrypted_entries, _entries
from sts_async.fleet.caches._encrypted_entries import MAX_VALUE_BYTES, EncryptedEntries
from sts_async.fleet.caches._entries import OwnFormat, UnusableEntry

NEW, OLD = b"SENTINEL-new-key-of-32-bytes-aaa", b"SENTINEL-old-key-of-32-bytes-bbb"
ENTRIES = EncryptedEntries(EncryptionKeys({"new": NEW, "old": OLD}))


def refused(value: bytes, *, key: CacheKey = KEY, entries: EncryptedEntries = ENTRIES) -> tuple[str, str]:
    """Return the kind and the reason of the refusal of a value."""
    with pytest.raises(UnusableEntry) as caught:
        entries.decrypt(key, value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # the errors of libraries stay inside
    return caught.value.kind, str(caught.value)


def encrypted_by_hand(
    plain: bytes,
    *,
    key: CacheKey = KEY,
    version: int = 1,
    key_id: str = "new",
    secret: bytes = NEW,
    nonce: bytes = b"twelve bytes",
) -> bytes:
    """Return a value that this test makes itself, as the format is described."""
    associated = bytes([version]) + key.digest.encode("ascii") + key_id.encode("ascii")
    head = bytes([version, len(key_id)]) + key_id.encode("ascii") + nonce
    return head + AESGCM(secret).encrypt(nonce, plain, associated)


# -- What is encrypted is decrypted ----------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    key=KEYS,
    microseconds=st.integers(0, 999_999),
    account=st.sampled_from([None, "123456789012"]),
    refresh_after=st.none() | st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)),
)
def test_what_is_encrypted_is_decrypted_as_it_was(
    key: CacheKey, microseconds: int, account: str | None, refresh_after: datetime | None
) -> None:
    cached = issued(at=NOW + timedelta(microseconds=microseconds), token="SENTINEL-token")
    cached = attrs.evolve(cached, refresh_after=refresh_after)
    cached = attrs.evolve(cached, credentials=attrs.evolve(cached.credentials, account_id=account))  # type: ignore[misc]
    try:
        found = ENTRIES.decrypt(key, ENTRIES.encrypt(key, cached))
    except UnusableEntry as error:
        assert (error.kind, account) == ("mismatch", "123456789012")  # noqa: PT017 - the request is of another account
    else:
        assert found == cached
        assert found.credentials.account_id == account


def test_the_bytes_are_those_of_the_format() -> None:
    """The oracle: a value is taken apart and decrypted by hand, and one that is made by hand is decrypted."""
    value = ENTRIES.encrypt(KEY, issued())
    nonce, encrypted = value[5:17], value[17:]

    assert value[:5] == b"\x01\x03new"
    plain = AESGCM(NEW).decrypt(nonce, encrypted, b"\x01" + KEY.digest.encode() + b"new")
    assert json.loads(plain) == json.loads(bytes(OwnFormat().encode(KEY, issued())))
    assert ENTRIES.decrypt(KEY, encrypted_by_hand(plain)) == issued()


def test_no_part_of_the_entry_is_readable() -> None:
    """T41: neither credentials nor the identity; the id of the key and the size are."""
    value = ENTRIES.encrypt(KEY, issued())
    parts = ["SENTINEL", "ASIA", "AKIA", "arn:", "demo", "123456789012", "me", KEY.digest, "Expiration", "2026"]

    assert [part for part in parts if len(part) > 2 and part.encode() in value] == []
    assert base64.b64encode(b"SENTINEL")[:8] not in value


def test_each_value_has_a_nonce_of_its_own() -> None:
    """Two values with one nonce and one key would reveal both, and the key of the authentication."""
    values = {ENTRIES.encrypt(KEY, issued()) for _ in range(100)}

    assert len({value[5:17] for value in values}) == len({value[17:33] for value in values}) == 100


# -- Everything else is refused -----------------------------------------------------------------------------------

SHORT = EncryptedEntries(EncryptionKeys({"k": NEW}))
# The first bytes of a random nonce can be characters of a key id. A value with another length of its id would then have
# a valid id.
VALUE = encrypted_by_hand(OwnFormat().encode(KEY, issued()), key_id="k", nonce=bytes(12))


def test_every_changed_byte_is_refused() -> None:
    """Each bit of each byte, one after the other."""
    kinds: dict[int, set[str]] = {}
    for position in range(len(VALUE)):
        for bit in range(8):
            changed = bytearray(VALUE)
            changed[position] ^= 1 << bit
            kinds.setdefault(min(position, 3), set()).add(refused(bytes(changed), entries=SHORT)[0])

    assert kinds == {
        0: {"version"},
        1: {"invalid"},
        2: {"invalid", "key id"},
        3: {"authentication"},
    }


def test_every_truncation_and_extension_is_refused() -> None:
    short = {refused(VALUE[:size], entries=SHORT)[0] for size in range(31)}
    truncated = {refused(VALUE[:size], entries=SHORT)[0] for size in range(31, len(VALUE))}
    from_the_start = {refused(VALUE[size:], entries=SHORT)[0] for size in range(1, len(VALUE))}
    longer = {refused(VALUE + bytes(size), entries=SHORT)[0] for size in (1, 2, 16, 1000)}

    assert short == {"invalid"}
    assert truncated == longer == {"authentication"}
    assert "version" in from_the_start


@given(value=st.binary(max_size=200) | st.builds(bytes.__add__, st.sampled_from([b"\x01\x01k", b"\x01"]), st.binary()))
def test_any_other_bytes_are_refused_with_the_same_error(value: bytes) -> None:
    assert refused(value, entries=SHORT)[0] in {"invalid", "version", "key id", "authentication"}


@settings(max_examples=20)
@given(one=KEYS, other=KEYS)
def test_a_value_of_another_identity_is_refused(one: CacheKey, other: CacheKey) -> None:
    """T40, T42: who can write to the storage cannot exchange the credentials of two identities."""
    value = ENTRIES.encrypt(one, issued())
    if one.digest == other.digest:
        assert ENTRIES.decrypt(other, value) == issued()
    else:
        assert refused(value, key=other)[0] == "authentication"


def test_an_entry_that_names_another_identity_is_refused() -> None:
    """T40: the entry is compared with the key, too, so that a fault of the writer is no confusion of identities."""
    other = bytes(OwnFormat().encode(key_of("other"), issued()))

    assert refused(encrypted_by_hand(other)) == ("mismatch", "it belongs to another identity: Digest differ")


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        (encrypted_by_hand(b"{}", version=2), "version", "the value has another format version"),
        (b"a value of another program, as long as ours", "version", "or is of another program"),
        (b"", "invalid", "the value is incomplete"),
        (encrypted_by_hand(b"{}", key_id="a\nb"), "invalid", "has no key id"),
        (encrypted_by_hand(b"{}", key_id=""), "invalid", "has no key id"),
        (encrypted_by_hand(b"{}", key_id="gone"), "key id", "the key 'gone', which is not among the keys"),
        (encrypted_by_hand(b"{}", secret=OLD), "authentication", "not authentic for the key 'new'"),
        (encrypted_by_hand(b"no JSON"), "invalid", "not a JSON object"),
        (encrypted_by_hand(b"{}"), "version", "another format version"),
        (bytes(MAX_VALUE_BYTES + 1), "oversized", f"larger than {MAX_VALUE_BYTES} bytes"),
        (encrypted_by_hand(b" " * (64 * 1024 + 1)), "invalid", "larger than 65536 bytes"),
    ],
)
def test_each_kind_of_fault_has_its_name(value: bytes, kind: str, reason: str) -> None:
    found, text = refused(value)

    assert found == kind
    assert reason in text
    assert "SENTINEL" not in text


def test_the_largest_entry_is_decrypted_and_a_larger_one_is_not_encrypted() -> None:
    """What no reader accepts is not written either."""

    def with_token(size: int) -> CachedCredentials:
        return issued(token="x" * size)

    most = 64 * 1024 - len(OwnFormat().encode(KEY, with_token(0)))
    longest = EncryptedEntries(EncryptionKeys({"a" * 64: NEW}))
    value = longest.encrypt(KEY, with_token(most))

    assert len(value) == MAX_VALUE_BYTES
    assert longest.decrypt(KEY, value) == with_token(most)
    with pytest.raises(UnusableEntry, match="larger than 65536 bytes") as caught:
        longest.encrypt(KEY, with_token(most + 1))
    assert caught.value.kind == "oversized"


# -- Rotation -----------------------------------------------------------------------------------------------------

STEPS = {
    "the old key": {"old": OLD},
    "the new key is added": {"old": OLD, "new": NEW},
    "the new key is first": {"new": NEW, "old": OLD},
    "the old key is removed": {"new": NEW},
}


@pytest.mark.parametrize("reader", STEPS)
@pytest.mark.parametrize("writer", STEPS)
def test_neighbouring_steps_of_a_rotation_read_each_other(writer: str, reader: str) -> None:
    """Machines do not change at the same moment. Only steps that are not neighbours may miss values."""
    order = [*STEPS]
    value = EncryptedEntries(EncryptionKeys(STEPS[writer])).encrypt(KEY, issued())
    entries = EncryptedEntries(EncryptionKeys(STEPS[reader]))
    distance = order.index(reader) - order.index(writer)
    newest = next(iter(STEPS[writer]))

    if newest in STEPS[reader]:
        assert entries.decrypt(KEY, value) == issued()
    else:
        assert refused(value, entries=entries)[0] == "key id"
        assert abs(distance) > 1


def test_a_replaced_key_with_the_same_id_is_noticed() -> None:
    other = EncryptedEntries(EncryptionKeys({"k": OLD}))

    assert refused(VALUE, entries=other) == ("authentication", "the value is not authentic for the key 'k'")


# -- Secrets and the package --------------------------------------------------------------------------------------


def test_no_repr_shows_a_key() -> None:
    """T14."""
    assert repr(ENTRIES) == "EncryptedEntries('new', 'old')"
    assert "SENTINEL" not in repr(ENTRIES._ciphers)


FAULTY = [(_entries, "write_object"), (_entries, "parse"), (_entries, "read_temporary_credentials")]
FAULTY += [(_encrypted_entries, "_associated_data"), (_entries, "checked_entry")]


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
def test_no_crash_reporter_shows_keys_or_credentials(monkeypatch: pytest.MonkeyPatch, reporter: Any) -> None:
    """G6, T16: a `SystemError` stands for a fault of this library, which is not caught."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")

    def fail(*_: object, **__: object) -> None:
        raise SystemError

    value = ENTRIES.encrypt(KEY, issued())
    shown = ""
    for owner, name in FAULTY:
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, fail)
            for call in (lambda: ENTRIES.encrypt(KEY, issued()), lambda: ENTRIES.decrypt(KEY, value)):
                try:
                    call()
                except SystemError as error:
                    shown += reporter.show(error)

    assert [name for name in ("encrypt", "decrypt", "decode", "encode") if name not in shown] == []
    assert "SENTINEL" not in shown


def test_a_missing_package_is_named_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is an extra, and its absence is noticed when the cache is made, not at the first fetch."""
    real = builtins.__import__

    def importing(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ConfigurationError, match=r"pip install 'sts-async\[redis\]'") as caught:
        EncryptedEntries(EncryptionKeys({"k": NEW}))

    advised = Requirement(str(caught.value).rpartition("pip install ")[2].strip("'"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert advised.extras == {"redis"}
    assert "cryptography" in {Requirement(line).name for line in extras["redis"]}
