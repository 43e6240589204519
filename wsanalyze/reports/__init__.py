"""Reports: what people and programs are shown of the trends."""
