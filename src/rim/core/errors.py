"""The one exception that stands for a mistake of the user or of the machine, told in one line without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend. The message names the file or key, what is wrong and what to do."""
