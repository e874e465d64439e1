"""Usual English words that say little about whether somebody liked something."""

from __future__ import annotations

_NEGATIONS = """
no not nor neither never none nobody nothing nowhere cannot without hardly barely but against ain't aren't can't
couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't shan't shouldn't wasn't weren't won't
wouldn't
"""
_OTHERS = """
a about above after again all am an and any are as at be because been before being below between both by could did do
does doing down during each few for from further had has have having he he'd he'll he's her here here's hers herself him
himself his how how's i i'd i'll i'm i've if in into is it it's its itself let's me more most my myself of off on once
only or other ought our ours ourselves out over own same she she'd she'll she's should so some such than that that's the
their theirs them themselves then there there's these they they'd they'll they're they've this those through to too
under until up very was we we'd we'll we're we've were what what's when when's where where's which while who who's whom
why why's with would you you'd you'll you're you've your yours yourself yourselves
"""
NEGATIONS = frozenset(_NEGATIONS.split())
"""Words that turn the meaning of others round."""
STOP_WORDS = NEGATIONS | frozenset(_OTHERS.split())
