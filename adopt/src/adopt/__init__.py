"""Takes over the data set of a proof of concept."""
