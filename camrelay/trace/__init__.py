"""Reasons about what measurements found: facts in, verdicts out, in plain words, with the next step to take.

A check (probing is ``daemon``'s business) ends in one *fact*: check, outcome, details. ``data/checks*.toml`` say what
each outcome means. ``data/verdicts*.toml`` say which facts together prove what: a *verdict* names the outcomes
that must be there (``when``) and those that must not (``unless``), the concern it speaks about, what is the matter
(``say``) and who has to do what (``do``), in English and Japanese. Within one concern the first verdict of the file
that fits is the finding. There is no verdict in code: a new one is a paragraph of TOML, and one more row in the
documentation, which a test keeps in step.

Pure: reads its own package data once, when first asked, and nothing else. Nothing is imported when the daemon starts.
"""
