// Judges our logs, notes and proofs with golang.org/x/mod/sumdb/{note,tlog}, as the Go command itself ships them.
// Reads one JSON job a line; writes one JSON verdict a line.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"verifier/note"
	"verifier/tlog"
)

type job struct {
	Op, Origin       string
	Keys             []string
	Note             []byte
	Files            map[string][]byte
	Entries, Proof   [][]byte
	Size, Old, Index int64
	Root, OldRoot    []byte
	Leaf             []byte
}

type verdict struct {
	Verdict, Why           string
	Root                   []byte
	Inclusion, Consistency [][]byte
}

// class turns an error into the word that both sides use for it.
func class(err error) string {
	var bad *note.InvalidSignatureError
	var unsigned *note.UnverifiedNoteError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &bad):
		return "signature"
	case errors.As(err, &unsigned):
		return "unsigned"
	}
	return "malformed"
}

func openNote(j job) (*note.Note, error) {
	var keys []note.Verifier
	for _, text := range j.Keys {
		key, err := note.NewVerifier(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return note.Open(j.Note, note.VerifierList(keys...))
}

// openCheckpoint reads sizes and roots with tlog.ParseTree, whose notes have one fixed origin.
func openCheckpoint(j job) (tree tlog.Tree, err error) {
	opened, err := openNote(j)
	if err != nil {
		return tree, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != j.Origin {
		return tree, errors.New("the checkpoint of another log")
	}
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

func hash(data []byte) (h tlog.Hash) {
	if len(data) != tlog.HashSize {
		panic("not a hash")
	}
	copy(h[:], data)
	return h
}

func hashes(list [][]byte) (found []tlog.Hash) {
	for _, data := range list {
		found = append(found, hash(data))
	}
	return found
}

func proof[P ~[]tlog.Hash](p P, err error) [][]byte {
	if err != nil {
		panic(err)
	}
	found := [][]byte{}
	for i := range p {
		found = append(found, p[i][:])
	}
	return found
}

// files is a tlog.TileReader of tiles of height 8 at tlog-tiles' paths.
type files map[string][]byte

func (files) Height() int                      { return 8 }
func (files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) (found [][]byte, err error) {
	for _, tile := range tiles {
		data, ok := f[strings.Replace(tile.Path(), "tile/8/", "tile/", 1)]
		if !ok {
			return nil, fmt.Errorf("%s is missing", tile.Path())
		}
		found = append(found, data)
	}
	return found, nil
}

// stored keeps a tree's hashes as tlog orders them.
type stored []tlog.Hash

func (s *stored) ReadHashes(indexes []int64) (found []tlog.Hash, err error) {
	for _, index := range indexes {
		found = append(found, (*s)[index])
	}
	return found, nil
}

// build hashes entries without looking at any tile, and checks that our tiles are those of this tree.
func build(j job) (v verdict, err error) {
	var tree stored
	for n, entry := range j.Entries {
		added, err := tlog.StoredHashes(int64(n), entry, &tree)
		if err != nil {
			return v, err
		}
		tree = append(tree, added...)
	}
	size := int64(len(j.Entries))
	root, err := tlog.TreeHash(size, &tree)
	v.Root = root[:]
	for _, tile := range tlog.NewTiles(8, 0, size) {
		want, err := tlog.ReadTileData(tile, &tree)
		found, _ := files(j.Files).ReadTiles([]tlog.Tile{tile})
		if err != nil || len(found) != 1 || !bytes.Equal(found[0], want) {
			return v, fmt.Errorf("%s differs", tile.Path())
		}
	}
	if size > 0 {
		v.Inclusion = proof(tlog.ProveRecord(size, j.Index, &tree))
		v.Consistency = proof(tlog.ProveTree(size, j.Old, &tree))
	}
	return v, err
}

// audit does what our verifier does: checkpoint, tiles against its root, entries against tiles.
func audit(j job) (string, error) {
	j.Note = j.Files["checkpoint"]
	tree, err := openCheckpoint(j)
	if err != nil {
		return class(err), err
	}
	var indexes []int64
	for n := int64(0); n < tree.N; n++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, n))
	}
	leaves, err := tlog.TileHashReader(tree, files(j.Files)).ReadHashes(indexes)
	if err != nil {
		return "tiles", err
	}
	for n := int64(0); n < tree.N; {
		tile := tlog.Tile{H: 8, L: -1, N: n / 256, W: int(min(256, tree.N-n))}
		bundle, found := j.Files[strings.Replace(tile.Path(), "tile/8/data", "tile/entries", 1)]
		for end := n + int64(tile.W); n < end; n++ {
			if !found || len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Sprint("entry ", n), errors.New("cut off")
			}
			size := 2 + int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:size]) != leaves[n] {
				return fmt.Sprint("entry ", n), errors.New("differs")
			}
			bundle = bundle[size:]
		}
		if len(bundle) > 0 {
			return fmt.Sprint("entry ", n), errors.New("goes on")
		}
	}
	return "ok", nil
}

func judge(j job) (v verdict) {
	var err error
	switch j.Op {
	case "note":
		_, err = openNote(j)
		v.Verdict = class(err)
	case "checkpoint":
		_, err = openCheckpoint(j)
		v.Verdict = class(err)
	case "build":
		v, err = build(j)
		v.Verdict = class(err)
	case "audit":
		v.Verdict, err = audit(j)
	case "inclusion":
		err = tlog.CheckRecord(hashes(j.Proof), j.Size, hash(j.Root), j.Index, hash(j.Leaf))
		v.Verdict = map[bool]string{true: "ok", false: "proof"}[err == nil]
	case "consistency":
		err = tlog.CheckTree(hashes(j.Proof), j.Size, hash(j.Root), j.Old, hash(j.OldRoot))
		v.Verdict = map[bool]string{true: "ok", false: "proof"}[err == nil]
	}
	if err != nil {
		v.Why = err.Error()
	}
	return v
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for in.More() {
		var j job
		if err := in.Decode(&j); err != nil {
			panic(err)
		}
		if err := out.Encode(judge(j)); err != nil {
			panic(err)
		}
	}
}
