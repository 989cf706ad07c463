"""
The program ``sts-async``, which is also ``python -m sts_async``.

An SDK starts `export-credentials` often. If its output was printed before and is still right, this module prints it
again, and does not import the rest of the library. `_cli.export_quick_path` decides that.
"""

import os
import sys


def main() -> int:
    """Run one command with the arguments of the process, and return its exit status: see `cli.main`."""
    if sys.argv[1:2] == ["export-credentials"]:
        from ._cli.export_quick_path import printed_before
        from ._cli.streams import OutputLost, report_lost, say

        try:
            text = printed_before(sys.argv[1:], os.environ)
            if text is not None:
                say(f"{text}\n")
                return 0
        except OutputLost as error:
            return report_lost(error)
        except KeyboardInterrupt:
            return 130
    from . import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
