"""Federated tuning of a foundation model, in which the server takes part (FedPEAT).

Three cases (:mod:`.cases`): clients hold an emulator and an adapter, the whole model and an
adapter, or the whole model, which is all tuned. In a round (:mod:`.rounds`) the selected clients
(:mod:`.draws`) tune on their own data (:mod:`.splits`, :mod:`.tuning`), the server averages what
they send (:mod:`.updates`, :mod:`.aggregation`), and a clock (:mod:`.clock`) says how long it took.

The source (arXiv 2310.17491) prints neither equations nor numbers of its federated part that we
know of: what the loop does in detail is our reading. Nothing here knows of Ray: who carries out
the clients' work is given to :class:`.rounds.Federation`. Needs the extra ``emulator``.
"""
