"""The harness tested by faults put into converted files on purpose."""
