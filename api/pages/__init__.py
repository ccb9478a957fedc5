"""The doors for people: pages made on the server, in English, Spanish and Vietnamese, that need no script.

`words` has the languages, `site` renders and sends, `visitor` knows who is signed in; `templates/` and `static/` are
what is rendered and sent. A page asks what the API asks, as the person who is signed in, so its numbers are the API's.
"""
