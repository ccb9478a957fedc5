"""The doors for people: pages made on the server, in English, Spanish and Vietnamese, that need no script.

`words` has the languages, `site` renders and sends, `templates/` and `static/` are what it renders and sends. A page asks
what the API asks, as the person who is signed in, so its numbers are the API's.
"""
