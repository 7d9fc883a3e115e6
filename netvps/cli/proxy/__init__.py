"""`netvps ssh-proxy`: an SSH client's bytes on a connection that outlives the gateway."""
