"""Sessions in a directory of this machine (a disk, a mounted share): the address is `file:///path`."""
