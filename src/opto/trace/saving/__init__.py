"""Writing agents to files and reading them back: JSON, the pickles of the existing library, plain Python, sandboxes."""
