"""What the page answers: a click comes in, the values of the components to change go out.

A visitor's own things are in the `page.session.Session` that comes along.
"""
