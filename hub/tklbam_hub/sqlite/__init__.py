"""SQLite as a server needs it: Django's engine with write-ahead log, patience and write locks taken at the start."""
