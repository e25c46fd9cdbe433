"""Tests of the benchmarks' harness and suites, at tiny sizes."""
