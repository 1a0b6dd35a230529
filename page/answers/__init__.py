"""What the page answers: a click comes in, the values of the components to change go out.

    choosing    which product, which model, and what is known of it
    one_photo   a photo, the threshold, the operator's decision
    many_photos a batch
    taking_home CSV and zip
    values      what comes out, by what it shows

A visitor's own things are in the `page.session.Session` that comes along.
"""
