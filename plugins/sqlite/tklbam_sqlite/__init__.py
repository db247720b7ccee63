"""SQLite databases for TKLBAM: consistent copies of files in use."""
