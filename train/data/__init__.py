"""Pairs and labels: read (pairs, labels, layouts), augmented and cut into batches (augment, feed)."""
