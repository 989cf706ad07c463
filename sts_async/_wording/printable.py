"""Safe display of text from outside, such as responses and parameters, in logs and messages."""

MAX_VIOLATIONS = 1000  # violations that one check collects: a list of 100,000 items can have 100,000
MAX_SHOWN_VIOLATIONS = 20  # violations in the message of an error, one line each


def printable(text: str) -> str:
    """Return *text* with control characters escaped: they can forge log records, and send commands to a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
