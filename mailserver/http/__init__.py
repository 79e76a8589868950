"""L7: HTTP: health, metrics, later the admin API and the pages. The only package that uses aiohttp's server."""
