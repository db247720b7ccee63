"""Backups and their sessions."""
