"""
Completion of a command line in a shell, by argcomplete: ``sts-async[completion]``.

The shell runs ``sts-async`` at each press of Tab, with the text of the line in ``COMP_LINE``.
"""

import os

from .commands import parser_for


def complete() -> int:
    """
    Write what can follow, and end the process. Options that the help does not list are left out, too.

    Without argcomplete, return status 1 and write nothing, because an error would be shown within the line.
    """
    try:
        from argcomplete import autocomplete
    except ImportError:
        return 1
    # Only an operation of the line has its members as options.
    autocomplete(parser_for(os.environ.get("COMP_LINE", "").split()), always_complete_options="long")
    return 1
