"""The pristine state of a Debian or Ubuntu system, derived from its package manager and what that leaves on disk."""
