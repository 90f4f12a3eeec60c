"""HTTP to one connection's API: session, cache, rate limit, retries, responses."""
