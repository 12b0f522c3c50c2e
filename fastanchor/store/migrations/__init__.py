"""Schemas of the databases, each as the steps by which it has grown. A step that was released is never changed."""
