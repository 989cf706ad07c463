"""What crash reporters show of an error at their default settings, without the frames of the tests themselves."""

import pprint
import reprlib
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from types import FrameType

import attrs


@attrs.frozen
class Reporter:
    """
    A crash reporter.

    Attributes:
        package: What must be installed for it; empty for the standard library.
        show: Returns what it shows of an error.
    """

    package: str
    show: Callable[[BaseException], str]

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.package or find_spec(self.package) is not None


def is_ours(filename: str) -> bool:
    """Say whether a frame is none of the tests: those have the secrets that they look for."""
    return "/tests/" not in filename


def by_traceback(error: BaseException) -> str:
    """Return what ``TracebackException(capture_locals=True)`` shows."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "\n".join(
        f"{frame.filename} {frame.name} {frame.locals}" for frame in captured.stack if is_ours(frame.filename)
    )


def by_standard_library(error: BaseException) -> str:
    """Return what `pprint` and `reprlib` show, as ``pytest -l`` and debuggers use them; ``value[:80]!r``, too."""
    shown = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_ours(frame.f_code.co_filename):
            shown += [f"{frame.f_code.co_filename} {frame.f_code.co_name}", *_locals_of(frame)]
    return "\n".join(shown)


def _locals_of(frame: FrameType) -> list[str]:
    shown = []
    for name, value in frame.f_locals.items():
        shown.append(f"{name} = {pprint.pformat(value)} {reprlib.repr(value)} {[value]!r}")
        if isinstance(value, str | bytes):
            shown.append(f"{value[:80]!r} {value.split()!r} {value.strip()!r}")
    return shown


def by_rich(error: BaseException) -> str:
    """Return what ``rich.traceback`` shows with ``show_locals``; the rest as it is by default."""
    from rich.traceback import Traceback

    stacks = Traceback.extract(type(error), error, error.__traceback__, show_locals=True).stacks
    return "\n".join(
        f"{frame.filename} {frame.name} {name} = {node.render()}"
        for stack in stacks
        for frame in stack.frames
        if is_ours(frame.filename)
        for name, node in (frame.locals or {"": _NoLocals()}).items()
    )


class _NoLocals:
    def render(self) -> str:
        return ""


def by_structlog(error: BaseException, *, use_rich: bool = True) -> str:
    """Return what ``structlog.processors.dict_tracebacks`` shows."""
    from structlog.tracebacks import ExceptionDictTransformer

    stacks = ExceptionDictTransformer(use_rich=use_rich)((type(error), error, error.__traceback__))
    frames = [frame for stack in stacks for frame in stack["frames"] if is_ours(frame["filename"])]
    return "\n".join(f"{frame['filename']} {frame['name']} {frame.get('locals')}" for frame in frames)


def by_sentry(error: BaseException) -> str:
    """Return what ``sentry_sdk.capture_exception`` sends."""
    from sentry_sdk.consts import DEFAULT_OPTIONS
    from sentry_sdk.serializer import serialize
    from sentry_sdk.utils import event_from_exception

    event, _ = event_from_exception(error, client_options=dict(DEFAULT_OPTIONS))
    for value in event["exception"]["values"]:
        frames = value.get("stacktrace", {"frames": []})["frames"]
        value["stacktrace"] = {"frames": [frame for frame in frames if is_ours(frame["abs_path"])]}
    return str(serialize(event))


REPORTERS = {
    "traceback": Reporter("", by_traceback),
    "standard library": Reporter("", by_standard_library),
    "rich": Reporter("rich", by_rich),
    "structlog": Reporter("structlog", by_structlog),
    "structlog without rich": Reporter("structlog", lambda error: by_structlog(error, use_rich=False)),
    "sentry": Reporter("sentry_sdk", by_sentry),
}
