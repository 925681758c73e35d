"""Measurements, side by side where there is something to stand beside; each prints the figures that the pages quote."""
