"""From an XML or YAML file to a Gateway."""
