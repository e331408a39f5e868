"""A local stand-in of Azure Web PubSub: a process of its own, never patched by gevent."""
