"""Commands about environments: the images that sessions are made from."""
