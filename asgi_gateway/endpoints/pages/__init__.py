"""Hold the built-in pages' style and texts, as files beside this one."""
