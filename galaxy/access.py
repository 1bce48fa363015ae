"""Who may call: tokens, and from where."""

import hashlib
import hmac
import ipaddress
import secrets

TOKEN_SETTING = "api_token_sha256"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def new_token() -> str:
    """Return a token that nobody can guess. It begins with a letter: on a command line it is no option."""
    return f"g{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return what is kept of a token. It is long and random, so a plain hash hides it."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer_in(authorization: str) -> str:
    """Return the token of an Authorization header, or nothing."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def same(token: str, expected_digest: str) -> bool:
    """Return whether this is the token with that digest, in a time that tells nothing."""
    return bool(token) and hmac.compare_digest(digest(token), expected_digest)


def is_loopback(host: str) -> bool:
    """Return whether a name or address to listen on is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_allowed(header: str, names: frozenset[str]) -> bool:
    """Return whether a Host header names this node.

    The danger is a name that an attacker points here (DNS rebinding), so names must be known and addresses may be any.
    """
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    host = host.lower().rstrip(".")
    if host in LOOPBACK_NAMES or host in names:
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def origin_allowed(origin: str, host: str) -> bool:
    """Return whether a page from this origin may call: only the node's own pages may."""
    return not origin or origin.partition("://")[2] == host != ""
