"""On Ray itself: a cluster of two nodes on this machine."""
