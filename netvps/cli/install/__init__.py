"""Commands that install netvps, and show how it is set up."""
