"""
What a call would use on this machine, where each part comes from, and what is wrong with it.

The rows of a report belong here, and the code that finds them out: files, options, proxy, TLS and the sources of
credentials. How an option or a source works belongs to its own module. An examination goes on after an error, so one
report shows everything that is wrong.
"""

from ._examination import examine
from ._report import Report, Row

__all__ = ["Report", "Row", "examine"]
