"""The page that searches: a server for this machine alone, and static files without a build step."""
