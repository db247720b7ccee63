"""Sessions on other machines: sftp, rsync, ftp, webdav, imap, Swift, rclone and what else duplicity reaches."""
