// Package interop checks the ledger's checkpoints, tiles and proofs with other people's code:
// golang.org/x/mod (sumdb/note, sumdb/tlog), transparency-dev/merkle and transparency-dev/formats.
//
// test_interop.py writes a log into a folder and runs these tests with its path in INTEROP_LOG.
package interop
