"""Ways to doubt the answer: rebuild, compare, judge under another policy, verify."""
