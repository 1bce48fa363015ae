"""The REST API: a file a resource. An endpoint is a declaration and one call.

app              puts the parts together
schemas          what goes in and comes out; it never leaves this package
translate        from schemas to the core's words
errors           every refusal as a problem (RFC 9457)
gate             who may call at all: Host, Origin, bearer
idempotency      the same POST twice is one
constellations, stars, events, devices, join, artifacts, wire, health   the resources
"""
