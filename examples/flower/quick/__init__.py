"""A Flower app: softmax regression on data that each node makes up from its own number."""
