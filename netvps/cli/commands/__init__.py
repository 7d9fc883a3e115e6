"""Commands of `netvps`, one module for each, imported when it runs."""
