import copy
import inspect
import pickle
import re
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import errors
from sts_async._shape.secret import Secret
from sts_async.errors import ServiceError, STSError, ThrottlingError

CLASSES = {
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, STSError) and cls.__module__ == errors.__name__
}
MODELLED = {name: cls for name, cls in CLASSES.items() if getattr(cls, "modelled_code", None)}
ENCODED = "Encoded authorization failure message:"


def service_error(message: str = "no", *, code: str = "AccessDenied", status: int = 403, **more: Any) -> ServiceError:
    return ServiceError.class_for(code, status)(message, code=code, status=status, **more)


def an_instance(cls: type[STSError]) -> STSError:
    """Return an error of any class, with something in every attribute."""
    if issubclass(cls, ServiceError):
        code = cls.modelled_code or "AccessDenied"
        made: STSError = cls(f"no. {ENCODED} abc", code=code, status=403, fault="server", request_id="id-1")
    elif issubclass(cls, errors.ParamValidationError):
        made = cls("Shape", ["a must b", "c must d"])
    elif issubclass(cls, errors.ResponseParseError):
        made = cls("unreadable", status=200, retryable=True)
    else:
        made = cls("text")
    made.attempts = 3
    return made


each_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES.keys())
each_modelled = pytest.mark.parametrize("cls", MODELLED.values(), ids=MODELLED.keys())


# The tree


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """It is what a reader goes by: every class at its place, with the built-in class that it also is."""
    drawn: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for indent, name, text in re.findall(r"^ {4}( *)(\w+)(?: \.\.\.)? *(.*)$", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 2
        del path[depth:]
        also = re.search(r"\(also an? (\w+)\)", text)
        drawn[name] = path[-1] if path else None, also[1] if also else None
        path.append(name)
    real = {}
    for name, cls in CLASSES.items():
        ours = [base.__name__ for base in cls.__bases__ if issubclass(base, STSError)]
        others = [base.__name__ for base in cls.__bases__ if not issubclass(base, STSError) and base is not Exception]
        real[name] = (*(ours or [None]), *(others or [None]))
    first, *hidden = [name for name in CLASSES if name in MODELLED]

    assert drawn == {name: place for name, place in real.items() if name not in hidden}
    assert {real[name] for name in [first, *hidden]} == {("ServiceError", None)}
    assert f"{first} ...      the fifteen modelled errors" in (errors.__doc__ or "")
    assert len(MODELLED) == 15


@each_class
def test_every_error_says_what_it_is(cls: type[STSError]) -> None:
    """Its own docstring, not that of its base."""
    assert cls.__dict__["__doc__"]


# Codes


@each_modelled
def test_a_modelled_code_has_a_class_of_its_own(cls: type[ServiceError]) -> None:
    """Codes are unique in STS, so one table serves all operations."""
    assert ServiceError.class_for(cls.modelled_code or "", cls.modelled_status or 0) is cls
    assert ServiceError.by_code[cls.modelled_code or ""] is cls


@pytest.mark.parametrize("code", sorted(errors.THROTTLING_CODES))
@pytest.mark.parametrize("status", [200, 400, 403, 429, 503])
def test_a_code_that_means_slow_down_is_throttling_whatever_the_status(code: str, status: int) -> None:
    """F13: STS sends it with 400."""
    error = service_error(code=code, status=status)

    assert type(error) is ThrottlingError
    assert (error.throttled, error.retryable) == (True, True)


def test_the_throttling_codes_are_botocore_s_and_one_more() -> None:
    """The same list in both generations of retry rules."""
    from botocore.retries.standard import ThrottledRetryableChecker

    assert sorted({*ThrottledRetryableChecker._THROTTLED_ERROR_CODES} ^ errors.THROTTLING_CODES) == []


@pytest.mark.parametrize("code", ["AccessDenied", "Unknown", "", "ExpiredToken", "throttling"])
def test_any_other_code_is_a_plain_service_error(code: str) -> None:
    """ExpiredToken is about the caller's keys, ExpiredTokenException about the token in the request."""
    assert ServiceError.class_for(code, 403) is ServiceError
    assert ServiceError.class_for(code, 429) is ThrottlingError


@each_modelled
def test_a_modelled_code_says_more_than_the_status_429(cls: type[ServiceError]) -> None:
    """A6: 429 means "slow down" only where the model does not know the code."""
    assert ServiceError.class_for(cls.modelled_code or "", 429) is cls


def test_a_class_of_a_user_can_take_a_code() -> None:
    """One statement, as here; and it is found by it."""
    try:

        class Odd(ServiceError, code="OddCode", status=418):
            """Odd."""

        assert type(service_error(code="OddCode")) is Odd
        assert (Odd.modelled_code, Odd.modelled_status) == ("OddCode", 418)
    finally:
        del ServiceError.by_code["OddCode"]

    class Plain(ServiceError):
        """No code."""

    assert Plain.modelled_code is None
    assert Plain not in ServiceError.by_code.values()


# Whether to send again


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (service_error(code="IDPCommunicationError", status=400), True),
        (service_error(code="AccessDenied", status=403), False),
        (service_error(code="ExpiredTokenException", status=400), False),
        (service_error(code="InternalFailure", status=400), True),
        (service_error(code="ServiceUnavailable", status=400), True),
        (service_error(code="RequestTimeout", status=408), True),
        (service_error(code="RequestTimeoutException", status=400), True),
        *((service_error(code="X", status=status), True) for status in (500, 502, 503, 504)),
        *((service_error(code="X", status=status), False) for status in (200, 400, 403, 404, 501, 505, 599)),
        (service_error(code="ExpiredTokenException", status=503), True),
        (
            service_error(
                "Couldn't retrieve verification key from your identity provider", code="InvalidIdentityToken"
            ),
            True,
        ),
        (service_error("Unable to fetch\nthe KEYS of the provider", code="InvalidIdentityToken"), True),
        (service_error("No OpenIDConnect provider found in your account", code="InvalidIdentityToken"), False),
        (service_error("The token was not signed with a known key", code="InvalidIdentityToken"), False),
        (service_error("Couldn't retrieve verification key", code="AccessDenied"), False),
        (errors.ConnectError("x"), True),
        (errors.ConnectTimeout("x"), True),
        (errors.ConnectionLost("x"), True),
        (errors.AttemptTimeout("x"), True),
        (errors.ProxyError("x"), True),
        *((errors.ProxyError("x", status=status), True) for status in (408, 429, 500, 502, 503, 504)),
        *((errors.ProxyError("x", status=status), False) for status in (301, 400, 403, 407)),
        (errors.TLSError("x"), False),
        (errors.ResponseTooLarge("x"), False),
        (errors.ResponseParseError("x", status=200), False),
        (errors.ResponseParseError("x", status=200, retryable=True), True),
        (errors.RedirectRefused("x", status=302), False),
        (errors.ConfigurationError("x"), False),
        (errors.CredentialsError("x"), False),
        (errors.CredentialsNotFound("x"), False),
        (errors.ClientClosedError("x"), False),
        (errors.ParamValidationError("S", ["x"]), False),
    ],
    ids=str,
)
def test_an_error_knows_whether_the_same_call_may_succeed_later(error: STSError, retryable: bool) -> None:
    """F1 to F19: the policy asks nothing else."""
    assert error.retryable is retryable
    assert error.throttled is False
    assert error.attempts == 0


def test_an_instance_that_is_transient_does_not_change_its_class() -> None:
    service_error(code="AccessDenied", status=503)

    assert not ServiceError.retryable
    assert not service_error(code="AccessDenied", status=403).retryable


@pytest.mark.parametrize(("status", "fault"), [(400, "client"), (403, "client"), (500, "server"), (503, "server")])
def test_the_fault_follows_from_the_status_unless_the_service_says(status: int, fault: str) -> None:
    assert service_error(status=status).fault == fault
    assert service_error(status=status, fault="server").fault == "server"
    assert service_error(status=status, fault="client").fault == "client"


@pytest.mark.parametrize("builtin", [ValueError, TimeoutError, RuntimeError])
def test_an_error_can_be_caught_as_the_built_in_one_that_it_is(builtin: type[Exception]) -> None:
    """Code that knows nothing of this library catches TimeoutError."""
    found = {
        ValueError: {errors.ParamValidationError},
        TimeoutError: {errors.ConnectTimeout, errors.AttemptTimeout, errors.DeadlineExceeded},
        RuntimeError: {errors.ClientClosedError},
    }[builtin]

    assert {cls for cls in CLASSES.values() if issubclass(cls, builtin)} == found


# Text


def test_the_text_of_a_service_error_has_what_a_log_needs() -> None:
    error = service_error("not authorized", request_id="id-1")

    assert str(error) == "AccessDenied: not authorized (HTTP 403, request id-1)"
    assert str(service_error("not authorized")) == "AccessDenied: not authorized (HTTP 403)"
    assert (error.code, error.message, error.status, error.request_id) == (
        "AccessDenied",
        "not authorized",
        403,
        "id-1",
    )


def test_the_text_of_a_violation_has_all_of_them() -> None:
    error = errors.ParamValidationError("AssumeRoleRequest", iter(["a must b", "c must d"]))

    assert str(error) == "AssumeRoleRequest: a must b; c must d"
    assert (error.shape, error.violations) == ("AssumeRoleRequest", ("a must b", "c must d"))


@pytest.mark.parametrize(("count", "end"), [(20, "v19"), (21, "v19; and 1 more"), (1000, "; and at least 980 more")])
def test_the_text_of_many_violations_has_the_first_twenty(count: int, end: str) -> None:
    """T37: a message stays short however much is wrong."""
    error = errors.ParamValidationError("R", (f"v{number}" for number in range(count)))

    assert str(error).endswith(end)
    assert str(error).count(";") == 19 + (count > 20)
    assert len(error.violations) == count


def test_control_characters_of_a_server_are_escaped() -> None:
    """T45: one line of log stays one line, and a terminal stays as it was."""
    error = service_error("\x1b[2J\r\nFAKE", code="A\nB", request_id="\x00\u202e\u2028")

    assert str(error) == r"A\x0aB: \x1b[2J\x0d\x0aFAKE (HTTP 403, request \x00\x202e\x2028)"


@given(message=st.text(), code=st.text(), request_id=st.text() | st.none())
def test_any_text_of_a_server_is_one_printable_line(message: str, code: str, request_id: str | None) -> None:
    """T45: in `str` as in `repr`."""
    error = service_error(message, code=code, request_id=request_id)

    assert str(error).isprintable()
    assert repr(error).isprintable()


@pytest.mark.parametrize("part", ["message", "code", "request_id"])
def test_no_part_of_an_error_is_longer_than_two_thousand_characters(part: str) -> None:
    """T45: a log line is no place for a megabyte."""
    error = service_error(**{"message": "x", "code": "y", part: "z" * 100_000})

    assert len(str(error)) < 2 * errors.MAX_MESSAGE


def test_an_encoded_authorization_message_is_kept_out_of_the_text() -> None:
    """T45: it says what a policy allows; it has an attribute of its own, which does not print itself."""
    error = service_error(f"You are not authorized. {ENCODED} SENTINEL-abc+/= more")

    assert str(error) == (
        f"AccessDenied: You are not authorized. {ENCODED} (in encoded_authorization_message) more (HTTP 403)"
    )
    assert error.encoded_authorization_message == "SENTINEL-abc+/="
    assert type(error.encoded_authorization_message) is Secret
    assert "SENTINEL" not in repr(error) + repr(vars(error)) + repr(error.args) + error.message


@pytest.mark.parametrize("text", [ENCODED.upper(), f"{ENCODED}\n\t", ENCODED.lower()])
def test_an_encoded_message_is_found_in_any_case_and_after_any_space(text: str) -> None:
    error = service_error(f"{text} SENTINEL-1 and {text} SENTINEL-2 {'x' * 4000}")

    assert error.encoded_authorization_message == "SENTINEL-1"
    assert "SENTINEL" not in str(error)


def test_an_encoded_message_at_the_cut_is_not_half_shown() -> None:
    """T45: it is taken out before the text is cut, however long it is."""
    error = service_error(f"{'x' * 2000} {ENCODED} {'SENTINEL' * 9999}")

    assert "SENTINEL" not in str(error)
    assert len(error.encoded_authorization_message or "") == 8 * 9999


def test_the_encoded_message_can_be_put_back_and_found_again() -> None:
    """E5: to show it to a person, and to take the text of an error for the message."""
    error = service_error(f"You are not authorized. {ENCODED} {'QUJD' * 999} more")
    whole = error.with_encoded_message(str(error))

    assert whole.replace(f" {'QUJD' * 999} ", " ") == f"AccessDenied: You are not authorized. {ENCODED} more (HTTP 403)"
    assert errors.encoded_message_in(whole) == "QUJD" * 999
    assert type(errors.encoded_message_in(whole)) is Secret
    assert errors.encoded_message_in("nothing of the kind") is None


def test_an_encoded_message_beyond_the_cut_is_put_behind_the_text() -> None:
    """E5: the text of the service was cut before it."""
    error = service_error(f"{'x' * 9999} {ENCODED} QUJD more")

    assert errors.encoded_message_in(error.with_encoded_message(str(error))) == "QUJD"


def test_an_error_without_an_encoded_message_stays_as_it_is() -> None:
    assert service_error("no").with_encoded_message("text") == "text"


def test_an_error_without_an_encoded_message_has_none() -> None:
    assert service_error("no").encoded_authorization_message is None
    assert service_error(ENCODED).encoded_authorization_message is None


# Across processes


@each_class
def test_an_error_pickles_and_copies_whole(cls: type[STSError]) -> None:
    """T18: worker pools send errors through pipes, and one that cannot be read there hangs the pool."""
    error = an_instance(cls)
    error.add_note("a note")

    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(same) is cls
        assert str(same) == str(error)
        assert same.args == error.args
        assert vars(same) == vars(error)
        assert same.attempts == 3
        assert (same.retryable, same.throttled) == (error.retryable, error.throttled)


def test_an_encoded_message_stays_hidden_across_processes() -> None:
    error = pickle.loads(pickle.dumps(service_error(f"{ENCODED} SENTINEL")))

    assert error.encoded_authorization_message == "SENTINEL"
    assert "SENTINEL" not in repr(vars(error)) + str(error)


@each_class
def test_no_error_shows_a_secret_in_a_traceback_with_locals(cls: type[STSError]) -> None:
    """T16: attributes included."""
    with pytest.raises(cls) as caught:
        raise an_instance(cls)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "abc" not in shown + repr(vars(caught.value))


@each_class
def test_every_error_can_be_made_from_what_its_signature_asks_for(cls: type[STSError]) -> None:
    """Users raise them in tests of their own."""
    try:
        parameters = inspect.signature(cls).parameters
    except ValueError:
        parameters = {}
    needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind is p.KEYWORD_ONLY}

    assert needed <= {"code", "status"}
    assert isinstance(an_instance(cls), STSError)


# What waiting cures


@pytest.mark.parametrize(
    ("error", "recoverable"),
    [
        (service_error(code="AccessDenied"), False),
        (service_error(code="AccessDeniedException"), False),
        (service_error(code="ExpiredTokenException", status=400), False),
        (service_error(code="RegionDisabledException"), False),
        (service_error(code="InvalidIdentityToken", status=400), False),
        (service_error("Couldn't retrieve verification key", code="InvalidIdentityToken", status=400), True),
        (service_error(code="InvalidContextAssertion", status=400), False),
        (service_error(code="ExpiredToken"), True),
        (service_error(code="InvalidSubjectCredentials", status=400), True),
        (service_error(code="InsufficientSessionLifetime", status=400), True),
        (service_error(code="Throttling", status=400), True),
        (service_error(code="InternalFailure", status=500), True),
        (errors.ConfigurationError("contradiction"), False),
        (errors.LoginRequired("log in"), False),
        (errors.CredentialsError("busy"), True),
        (errors.ConnectError("refused"), True),
    ],
    ids=str,
)
def test_an_error_knows_whether_waiting_may_help(error: STSError, recoverable: bool) -> None:
    """A cache goes on serving what it has while the cause may pass, and says so at once when it cannot."""
    assert error.recoverable is recoverable


def test_the_repr_of_an_answer_has_its_code() -> None:
    """E5: logs and debuggers show it, and the class alone does not say which of many codes came."""
    assert (
        repr(errors.ServiceError("no\n", code="Odd", status=400)) == r"ServiceError('no\\x0a', code='Odd', status=400)"
    )
