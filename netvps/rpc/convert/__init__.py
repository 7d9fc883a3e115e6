"""The only door between protobuf and domain: one file per resource, functions in pairs `x_to_proto`, `x_from_proto`."""
