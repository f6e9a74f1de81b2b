"""Before a version is what customers meet: its cases run on an agent, and a label is put. What customers turn down after
that becomes an example or a case."""
