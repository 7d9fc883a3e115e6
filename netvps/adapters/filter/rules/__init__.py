"""The overlay's packet filter as values: rules of nftables, and the transaction between two rule sets."""
