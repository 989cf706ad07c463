"""Rules for members in words, for people who do not read regular expressions."""

_LATIN = "have only printable characters of Latin-1, tabs and line breaks"
_WORDS = {
    r"match [\w+=,.@-]*": "have only A-Z a-z 0-9 _ + = , . @ -",
    r"match [\w+=,.@:\/-]*": "have only A-Z a-z 0-9 _ + = , . @ : / -",
    r"match [\w+=/:,.@-]*": "have only A-Z a-z 0-9 _ + = / : , . @ -",
    r"match [\d]*": "have only digits",
    r"match [\w]*": "have only A-Z a-z 0-9 _",
    r"match [\t\n\r\u0020-\u00FF]+": _LATIN,
    r"match [\t\n\r\u0020-\u007E\u00A1-\u00FF]*": _LATIN,
    r"match [\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+": (
        "have no control characters"
    ),
    r"match [\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+( [\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+)*": (
        "be words of ASCII with one space between them, without quotes, commas and backslashes"
    ),
    "have only characters of the Unicode categories L, Z, N or of _.:/=+-@": (
        "have only letters, digits, spaces and _ . : / = + - @"
    ),
}
"""Descriptions of rules for characters, instead of patterns."""


def rule_in_words(rule: str) -> str:
    """Return a rule of `constraints`, which follows "must", without a pattern; other rules unchanged."""
    return _WORDS.get(rule, rule)
