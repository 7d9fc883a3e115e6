"""Use cases of URLs: who may open which, and logins of browsers."""
