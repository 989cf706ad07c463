"""
The report of `sts-async doctor`: the settings that a call would use on this machine, their origin, and their errors.

The rows of the report belong here, and the code that collects them: files, options, proxy, TLS and the sources of
credentials. The rules of an option or a source belong to its own module. The examination continues after an error, so
one report shows all errors.
"""

from ._examination import examine
from ._report import Report, Row

__all__ = ["Report", "Row", "examine"]
