"""API v1 (and the v2 paths of the same document): camelCase, page/pageSize, one problem shape."""
