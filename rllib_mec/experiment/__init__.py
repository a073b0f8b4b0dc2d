"""From a YAML file or flags to checked, running, resumable experiments."""
