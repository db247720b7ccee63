"""TKLBAM's side of a Hub: its API spoken over HTTPS. The Hub is not believed, and may be gone at any moment."""
