"""The proof that both ends of the worker's wire know the same key. Pure: knows neither sockets nor key files."""

import hashlib
import hmac


def make_proof(key: str, nonce: str) -> str:
    """HMAC-SHA256 in hex of the challenge's nonce (hex) under the shared key. Raises ValueError for another nonce."""
    return hmac.new(key.encode(), bytes.fromhex(nonce), hashlib.sha256).hexdigest()


def verify_proof(key: str, nonce: str, proof: str) -> bool:
    """True when `proof` answers `nonce`; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(make_proof(key, nonce).encode(), proof.encode())
