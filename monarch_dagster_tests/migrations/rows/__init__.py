"""Tests of generic rows."""
