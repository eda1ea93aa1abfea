"""The rooms: use cases as plain functions. They never commit, never render, never see a request."""
