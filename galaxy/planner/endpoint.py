"""How the node reaches the endpoints of models: for its planner, and for the devices that it lends its model to."""

import ssl

import httpx2

CONNECT_WITHIN_S = 10.0
# No proxy stands between a machine and itself, whatever the environment leaves out of NO_PROXY.
LOOPBACK: dict[str, httpx2.AsyncBaseTransport | None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}


def client_of_model(within_s: float, trusted: ssl.SSLContext) -> httpx2.AsyncClient:
    """Return a client for one endpoint; it goes through the proxy that the environment names.

    It follows no redirection, which would lead the key elsewhere.
    """
    return httpx2.AsyncClient(
        verify=trusted,
        trust_env=True,
        mounts=LOOPBACK,
        follow_redirects=False,
        timeout=httpx2.Timeout(within_s, connect=min(CONNECT_WITHIN_S, within_s)),
    )
