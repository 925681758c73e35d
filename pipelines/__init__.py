"""The stages, each a thin command over `lmmodel`, and the doors to them: DVC, Dagster, MLflow, the command line."""

from pipelines import interpreter

interpreter.check()  # here, since a stage under the wrong Python fails at its first import
