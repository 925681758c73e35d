"""Documents -> tokens -> batches, and questions with answers. Nothing here knows torch or a model."""
