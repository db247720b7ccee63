"""A Hub: keeps the records, profiles and key packets of TKLBAM's backups, and hands out storage credentials."""

from __future__ import annotations

__version__ = "2.0.0a1"
