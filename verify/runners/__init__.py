"""Runners: each reads converted files from disk, runs them, and returns every named blob."""
