"""Read-only pictures of the galaxy, as values ready for JSON.

pictures   a constellation, a star, a device
analysis   what a graph library can say of a whole constellation
"""
