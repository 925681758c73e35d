"""A checkpoint -> text and scores: generation, likelihoods, lm-eval's tasks, and what a score is held against."""
