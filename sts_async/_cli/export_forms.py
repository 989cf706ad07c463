"""
The forms in which ``sts-async export-credentials`` prints credentials. All of this is pure.

The names of the forms, except ``config``, are those of ``aws configure export-credentials``.

Source: AWS SDKs and Tools Reference Guide, "Process credential provider"; AWS CLI Command Reference,
"configure export-credentials".
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping

from .._shape.secret import cover

PROCESS, ENV, CONFIG = "process", "env", "config"

VARIABLES = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "SessionToken": "AWS_SESSION_TOKEN",
    "Expiration": "AWS_CREDENTIAL_EXPIRATION",
    "AccountId": "AWS_ACCOUNT_ID",
}
"""The variable for each member of the document of a process."""


def _in_powershell(value: str) -> str:
    # It reads typographic quotes as plain ones. Two of the same kind mean one character.
    return "'" + re.sub("['\u2018-\u201b]", r"\g<0>\g<0>", value) + "'"


def _in_cmd(value: str) -> str:
    if any(character in '"%!\r\n' for character in value):
        raise ValueError("the credentials have a character that cmd.exe cannot quote: use another --format")
    return value


def _in_fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS: dict[str, tuple[str, Callable[[str], str], str]] = {
    ENV: ("export {0}={1}", shlex.quote, "unset {0}"),
    "env-no-export": ("{0}={1}", shlex.quote, ""),
    "powershell": ("$Env:{0}={1}", _in_powershell, "Remove-Item Env:{0} -ErrorAction Ignore"),
    "windows-cmd": ('set "{0}={1}"', _in_cmd, 'set "{0}="'),
    "fish": ("set -gx {0} {1}", _in_fish, "set -e {0}"),
}
"""For each form: the line that sets a variable, how its value is quoted, and the line that removes a variable."""

FORMS = (PROCESS, *_SHELLS)
"""The forms that contain credentials."""


def render(form: str, members: Mapping[str, str]) -> str:
    """
    Return credentials in one of `FORMS`, without a line break at the end.

    A shell may have variables of other credentials. So the forms that are evaluated also remove the variables that
    these credentials do not have: a session token of another key would make each request fail.

    Args:
        form: The form.
        members: Members of the document of a process, by their names; those without a value are missing.

    Raises:
        ValueError: A value cannot be quoted in this form. The message does not contain it.
    """
    if form == PROCESS:
        return json.dumps({"Version": 1, **{name: members[name] for name in VARIABLES if name in members}})
    set_line, quoted, remove_line = _SHELLS[form]
    lines = []
    for name, variable in VARIABLES.items():
        if name in members:
            lines.append(cover(set_line.format(variable, quoted(members[name]))))
        elif remove_line:
            lines.append(remove_line.format(variable))
    return "\n".join(lines)
