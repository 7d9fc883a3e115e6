"""Use cases of people: users, API keys, SSH keys, logins."""
