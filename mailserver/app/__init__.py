"""L8: composition: configuration, construction, supervision."""
