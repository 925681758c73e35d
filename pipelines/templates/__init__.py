"""What `lmmodel new` writes: one working component a family, to be changed. Checked as they stand, by the tests."""
