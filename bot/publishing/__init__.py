"""Before a version is what customers meet: its cases run on an agent, and a label is put."""
