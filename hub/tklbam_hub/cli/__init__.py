"""The command tklbam-hub: one module a command."""
