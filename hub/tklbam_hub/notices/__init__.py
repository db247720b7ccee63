"""Overdue and failed backups, announced by e-mail and webhook."""
