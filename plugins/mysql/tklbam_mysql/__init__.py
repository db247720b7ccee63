"""MySQL and MariaDB for TKLBAM: dumps into `myfs/` of the extras, restores, and rolls back."""
