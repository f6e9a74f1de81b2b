"""The prompt library: versioned YAML files, their rules, and the one renderer that training and serving share."""
