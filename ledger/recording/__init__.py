"""The one road into the log: decide, stamp, append, give a receipt."""
