"""Files: bytes and structure, no meaning. Where bytes lie, how they are read, what containers hold."""
