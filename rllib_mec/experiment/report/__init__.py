"""From the results of studies to tables, figures and one page: ``rllib report``.

``results`` reads what a study has left, ``statistics``, ``table``, ``field`` and ``decisions`` make
the numbers, ``paper`` holds those that they are compared with; ``wording``, ``field_wording`` and
``markdown``, ``figures`` and ``page`` show them; ``command`` puts it all together.
"""
