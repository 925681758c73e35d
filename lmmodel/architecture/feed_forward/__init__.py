"""Feed-forward parts: what a layer computes on each token by itself. One kind, one file."""
