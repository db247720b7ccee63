"""TKLBAM: backup and migration that stores what changed since a system was installed."""

__version__ = "2.0.0a1"
