"""Coding: integers to slots to polynomials to words, and back, without any key."""
