"""PostgreSQL for TKLBAM: dumps whose deltas stay small, restores loaded beside and swapped, rollback."""
