"""Erasing a resident: what was asked, who was erased by the log's word, and the thread that carries it out."""
