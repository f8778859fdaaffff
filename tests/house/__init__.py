"""Tests of the house itself: set-up, packaging, Binder, import arrows, the command line, the README."""
