"""The three families of choices that a training is put together from."""

from lmmodel.params.kinds import Family

OPTIMIZER = Family("lmmodel.learning.optimizer", "Optimizer")
SCHEDULE = Family("lmmodel.learning.schedule", "schedule")
METHOD = Family("lmmodel.learning.method", "Method")
