"""A client's batches, the steps that it takes on them, and the training of any module by autograd."""
