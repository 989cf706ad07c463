"""Text that somebody else chose, and that ends up in logs."""

MAX_VIOLATIONS = 1000  # that are looked for in a request: a list of 100,000 items may hold as many
MAX_SHOWN_VIOLATIONS = 20  # that the message of an error has, one line each


def printable(text: str) -> str:
    """Return *text* on one line: control characters can forge records, and command a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
