"""One servicer for each service of the API: parse, call a use case, convert the answer."""
