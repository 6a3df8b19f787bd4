"""Data subject requests by GraphQL: another way of asking for what REST does, and no other rules.

schema    what can be asked, and who answers it
limits    how much may be asked at once, before anything is looked at
errors    what went wrong, in GraphQL's shape
"""
