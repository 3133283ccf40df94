"""Typed configurations, each of which reproduces one row of one paper."""
