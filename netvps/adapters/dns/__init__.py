"""DNS on the wire, by dnspython: answers for the sessions of a machine, and the way to its own resolvers."""
