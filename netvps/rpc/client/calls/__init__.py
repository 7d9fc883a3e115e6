"""Every call of the API, once: what is sent, and how the answer is read. The transports carry them."""
