"""Attempts to cross the boundary around an agent, each of which has to fail, and each of which could succeed."""
