"""The calls between the servers of one database."""
