"""The other modules here need NVFlare, and are no tests."""

collect_ignore = ["parts.py", "simulated.py", "deployment.py"]
