"""The pages: what a person sees of the registry in a browser, complete without JavaScript and quicker with it.

Server-rendered, everything escaped by the templates; nothing is loaded from anywhere else, and no page changes anything
but the person's own session.
"""
