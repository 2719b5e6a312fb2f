"""``curate export``: a release's training records in the formats that trainers read.

Every format is either written by a library that is kept up, or so small that a page of its reader's source defines it;
the module of each names that page.
"""
