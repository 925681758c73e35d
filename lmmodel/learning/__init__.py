"""A model and batches -> a checkpoint: the loss, the one training loop, its optimizers, schedules and methods."""
