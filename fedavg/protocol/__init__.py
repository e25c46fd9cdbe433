"""The protocol around a secure sum: messages, the driver of a round, the transcript and the result."""
