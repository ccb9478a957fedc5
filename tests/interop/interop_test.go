package interop

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	flog "github.com/transparency-dev/formats/log"
	fproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The folder: origin, vkey, skey, records (one a line), checkpoint, older-checkpoint,
// tile/..., proofs/<index>.tlog-proof, consistency.json (base64 hashes), receipt, receipts-vkey, evidence.zip.

const tileHeight = 8

func TestMain(m *testing.M) {
	if os.Getenv("INTEROP_LOG") == "" {
		fmt.Fprintln(os.Stderr, "INTEROP_LOG names no log: run test_interop.py, which writes one")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func path(name string) string {
	return filepath.Join(os.Getenv("INTEROP_LOG"), filepath.FromSlash(name))
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(path(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func records(t *testing.T) [][]byte {
	return bytes.Split(bytes.TrimSuffix(read(t, "records"), []byte("\n")), []byte("\n"))
}

func openNote(t *testing.T, raw []byte, vkeyFile string) (*note.Note, error) {
	t.Helper()
	verifier, err := note.NewVerifier(string(read(t, vkeyFile)))
	if err != nil {
		t.Fatal(err)
	}
	return note.Open(raw, note.VerifierList(verifier))
}

// checkpoint opens a checkpoint with x/mod's note and reads it with transparency-dev/formats.
func checkpoint(t *testing.T, raw []byte) flog.Checkpoint {
	t.Helper()
	opened, err := openNote(t, raw, "vkey")
	if err != nil {
		t.Fatal(err)
	}
	var found flog.Checkpoint
	rest, err := found.Unmarshal([]byte(opened.Text))
	if err != nil || len(rest) != 0 {
		t.Fatalf("checkpoint: %v, %d bytes behind it", err, len(rest))
	}
	if found.Origin != string(read(t, "origin")) {
		t.Fatalf("origin %q", found.Origin)
	}
	return found
}

func tree(c flog.Checkpoint) tlog.Tree {
	return tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Hash)}
}

// tilePath is a tile's path without the height that Go's checksum database puts in front.
func tilePath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
}

// tiles is a tlog.TileReader over the folder; one of them may be altered on the way.
type tiles struct {
	t       *testing.T
	altered string
}

func (r tiles) Height() int { return tileHeight }

func (r tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(path(tilePath(tile)))
		if err != nil {
			return nil, err
		}
		if tilePath(tile) == r.altered {
			data[len(data)/2] ^= 0x04
		}
		found = append(found, data)
	}
	return found, nil
}

func (r tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// leaves are the indexes under which tlog knows the hashes of the records.
func leaves(n int64) []int64 {
	var indexes []int64
	for i := int64(0); i < n; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	return indexes
}

func TestCheckpointOpensAndItsRootIsThatOfTheRecords(t *testing.T) {
	found := checkpoint(t, read(t, "checkpoint"))
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	all := factory.NewEmptyRange(0)
	for _, record := range records(t) {
		if err := all.Append(rfc6962.DefaultHasher.HashLeaf(record), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := all.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	if all.End() != found.Size || !bytes.Equal(root, found.Hash) {
		t.Fatalf("size %d root %x, signed were %d and %x", all.End(), root, found.Size, found.Hash)
	}
}

func TestGoSignsTheSameBytes(t *testing.T) {
	signer, err := note.NewSigner(string(read(t, "skey")))
	if err != nil {
		t.Fatal(err)
	}
	found := checkpoint(t, read(t, "checkpoint"))
	signed, err := note.Sign(&note.Note{Text: string(found.Marshal())}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(signed, read(t, "checkpoint")) {
		t.Fatalf("Go signs\n%s", signed)
	}
}

func TestAlteredCheckpointIsRefused(t *testing.T) {
	raw := read(t, "checkpoint")
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x01
		if i+1 < len(raw) && raw[i+1] == '=' {
			// The last digit has two spare bits, which Go's base64 lets be ('0' and '1' read alike): change one that counts.
			changed[i] = raw[i] ^ 0x04
		}
		if _, err := openNote(t, changed, "vkey"); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
	}
}

func TestTilesAreExactlyThoseOfTheTree(t *testing.T) {
	found := checkpoint(t, read(t, "checkpoint"))
	expected := map[string]bool{}
	for _, tile := range tlog.NewTiles(tileHeight, 0, int64(found.Size)) {
		expected[tilePath(tile)] = true
	}
	err := filepath.WalkDir(path("tile"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(path(""), name)
		if err == nil && !expected[filepath.ToSlash(relative)] {
			t.Errorf("%s is not a tile of the tree", relative)
		}
		delete(expected, filepath.ToSlash(relative))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for missing := range expected {
		t.Errorf("%s is missing", missing)
	}
}

func TestTilesLeadFromTheRootToEveryRecord(t *testing.T) {
	found := checkpoint(t, read(t, "checkpoint"))
	all := records(t)
	hashes, err := tlog.TileHashReader(tree(found), tiles{t, ""}).ReadHashes(leaves(int64(len(all))))
	if err != nil {
		t.Fatal(err)
	}
	for i, record := range all {
		if tlog.RecordHash(record) != hashes[i] {
			t.Fatalf("record %d has another hash in its tile", i)
		}
	}
}

func TestAlteredTileIsRefused(t *testing.T) {
	found := checkpoint(t, read(t, "checkpoint"))
	all := tlog.NewTiles(tileHeight, 0, int64(found.Size))
	for i, tile := range all {
		if i%30 != 0 && i < len(all)-5 {
			continue // the last ones are the partial tiles and the upper levels
		}
		reader := tlog.TileHashReader(tree(found), tiles{t, tilePath(tile)})
		if _, err := reader.ReadHashes(leaves(int64(found.Size))); err == nil {
			t.Fatalf("%s may be altered", tilePath(tile))
		}
	}
}

func TestProofsAreAcceptedAndAreThoseThatGoMakes(t *testing.T) {
	all := records(t)
	files, err := filepath.Glob(path("proofs/*.tlog-proof"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d proofs, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var found fproof.TLogProof
		if err := found.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(found.Marshal(), raw) {
			t.Fatalf("%s: written again it is another file", file)
		}
		signed := checkpoint(t, found.Checkpoint)
		var hashes [][]byte
		var record tlog.RecordProof
		for _, hash := range found.Hashes {
			hashes = append(hashes, hash[:])
			record = append(record, hash)
		}
		leaf := tlog.RecordHash(all[found.Index])
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, found.Index, signed.Size, leaf[:], hashes, signed.Hash); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := tlog.CheckRecord(record, int64(signed.Size), tlog.Hash(signed.Hash), int64(found.Index), leaf); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		made, err := tlog.ProveRecord(int64(signed.Size), int64(found.Index), tlog.TileHashReader(tree(signed), tiles{t, ""}))
		if err != nil || fmt.Sprint(made) != fmt.Sprint(record) {
			t.Fatalf("%s: Go makes another proof: %v", file, err)
		}
		for i := range hashes {
			changed := append([][]byte{}, hashes...)
			changed[i] = bytes.Clone(hashes[i])
			changed[i][31] ^= 0x80
			if proof.VerifyInclusion(rfc6962.DefaultHasher, found.Index, signed.Size, leaf[:], changed, signed.Hash) == nil {
				t.Fatalf("%s: hash %d may be altered", file, i)
			}
		}
	}
}

func TestTheTreeHasOnlyGrown(t *testing.T) {
	older, newer := checkpoint(t, read(t, "older-checkpoint")), checkpoint(t, read(t, "checkpoint"))
	var encoded []string
	if err := json.Unmarshal(read(t, "consistency.json"), &encoded); err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	var grown tlog.TreeProof
	for _, text := range encoded {
		hash, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
		grown = append(grown, tlog.Hash(hash))
	}
	if older.Size >= newer.Size {
		t.Fatal("nothing has grown")
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, older.Size, newer.Size, hashes, older.Hash, newer.Hash); err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(grown, int64(newer.Size), tlog.Hash(newer.Hash), int64(older.Size), tlog.Hash(older.Hash)); err != nil {
		t.Fatal(err)
	}
}

func TestReceiptOpens(t *testing.T) {
	opened, err := openNote(t, read(t, "receipt"), "receipts-vkey")
	if err != nil {
		t.Fatal(err)
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(records(t)[0])
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != "consent-ledger/receipt/v1" || lines[2] != base64.StdEncoding.EncodeToString(leaf) {
		t.Fatalf("receipt says\n%s", opened.Text)
	}
}

func TestEveryRecordOfABundleIsInTheSignedTree(t *testing.T) {
	opened, err := zip.OpenReader(path("evidence.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	entries := map[string][]byte{}
	for _, file := range opened.File {
		reader, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		if entries[file.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
	var manifest struct {
		Records []struct {
			Position  string `json:"position"`
			LeafIndex uint64 `json:"leaf_index"`
		} `json:"records"`
	}
	if err := json.Unmarshal(entries["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1+2*len(manifest.Records) || len(manifest.Records) != 4 {
		t.Fatalf("%d entries for %d records", len(entries), len(manifest.Records))
	}
	for _, record := range manifest.Records {
		var found fproof.TLogProof
		if err := found.Unmarshal(entries["proofs/"+record.Position+".tlog-proof"]); err != nil {
			t.Fatal(err)
		}
		signed := checkpoint(t, found.Checkpoint)
		var hashes [][]byte
		for _, hash := range found.Hashes {
			hashes = append(hashes, hash[:])
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(entries["records/"+record.Position+".json"])
		if found.Index != record.LeafIndex {
			t.Fatalf("%s: leaf %d is proven", record.Position, found.Index)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, found.Index, signed.Size, leaf, hashes, signed.Hash); err != nil {
			t.Fatalf("%s: %v", record.Position, err)
		}
	}
}
