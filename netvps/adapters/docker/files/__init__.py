"""Images, snapshots, volumes and copies: where the files of sessions are."""
