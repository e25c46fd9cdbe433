"""Training without a tape: dense and convolutional models, and many small clients at once."""
