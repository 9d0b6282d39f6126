"""Import paths of programs written for the existing library; the code lives in `opto.agents`."""
