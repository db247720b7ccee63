"""Where backups go, and the credentials that open one backup and no other."""
