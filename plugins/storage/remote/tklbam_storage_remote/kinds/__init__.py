"""One module a family of addresses: how duplicity reaches it, and how its files are listed, read and stored."""
