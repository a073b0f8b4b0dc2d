"""``rllib fedtune``: carries out and compares the federations of :mod:`rllib_mec.federated`."""
