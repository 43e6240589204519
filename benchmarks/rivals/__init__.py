"""What people would run instead of wsanalyze."""
