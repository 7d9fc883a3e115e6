"""The command line, one file per noun, over rpc/client/client alone."""
