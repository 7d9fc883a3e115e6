"""The files of snapshots, shown over SFTP."""
