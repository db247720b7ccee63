"""A writer of duplicity's format, beside duplicity itself: the same files on the target, several times as fast."""
