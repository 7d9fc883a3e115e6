"""DNS messages by dnspython: answers for a machine's sessions, and forwarding to its own resolvers."""
