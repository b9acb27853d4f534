"""Pure array functions: no files, no state."""
