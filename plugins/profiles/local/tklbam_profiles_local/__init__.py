"""Profiles from this machine: none at all, a directory, an archive in a local folder, or derived from dpkg."""
