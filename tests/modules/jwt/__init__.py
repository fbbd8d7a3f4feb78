"""Tests of the jwt login module."""
