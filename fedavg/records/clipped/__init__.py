"""Clipped gradients of units: by layers or by autograd, portion by portion, in micro-batches of one shape."""
