"""Load tests for Azure Web PubSub on Locust.

Importing this package is cheap and changes nothing in the process. The Locust users are in
`wpsload.users`; importing that module imports Locust, which patches the standard library.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
