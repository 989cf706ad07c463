"""Text that somebody else chose, and that ends up in logs."""


def printable(text: str) -> str:
    """Return *text* on one line: control characters can forge records, and command a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
