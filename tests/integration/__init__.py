"""Tests against real servers, which fixtures start on loopback and stop by process id."""
