"""`netvps doctor`: checks of this machine and of the server, each with a remedy."""
