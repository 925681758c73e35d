"""A declaration -> a model: parts as files, composed by data, with no special case for any of them."""
