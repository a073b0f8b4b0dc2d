"""From the results of studies to tables, figures and one page: ``rllib report``.

``results`` reads what a study has left, ``statistics`` and ``table`` make the numbers, ``paper``
holds those that they are compared with; ``wording`` and ``markdown``, ``figures`` and ``page`` show
them; ``command`` puts it all together.
"""
