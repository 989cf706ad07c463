"""Where the text of an option stands: in a variable of the environment, or under a key of a profile."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .options import Option
from .sections import Section, quotes_remark


class Text(NamedTuple):
    """
    The text of an option.

    Attributes:
        text: The text.
        origin: In words where it stands.
        remark: How it may differ from what its writer meant; empty if nothing indicates that.
    """

    text: str
    origin: str
    remark: str = ""

    @classmethod
    def from_variable(cls, variable: str, environ: Mapping[str, str]) -> "Text | None":
        """Return the text of an environment variable, or None if it is unset or blank."""
        text = environ.get(variable, "").strip()
        return cls(text, variable, quotes_remark(text)) if text else None

    @classmethod
    def from_section(cls, section: Section, key: str) -> "Text | None":
        """Return the text of a key, or None if it is unset or blank."""
        text = section.get(key)
        return None if text is None else cls(text, section.where(key), section.remark(key) or quotes_remark(text))


def texts(known: Option, environ: Mapping[str, str], sections: Iterable[Section]) -> Iterator[Text]:
    """Yield the texts of an option: of its variables, and then of its key in each section. The first one counts."""
    for variable in known.variables:
        if said := Text.from_variable(variable, environ):
            yield said
    if known.key is not None:
        for section in sections:
            if said := Text.from_section(section, known.key):
                yield said
