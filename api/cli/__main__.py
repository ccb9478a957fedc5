"""`python -m api.cli` is `consent-ledger`: how `dev` starts its children."""

from api.cli import main

main()
