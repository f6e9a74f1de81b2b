"""Before a version is what customers meet: its cases run on an agent, and a label is put. After: replies that customers turned
down become examples and cases."""
