// Command generate turns the message schemas in core/protocol/schema into the Go code of core/protocol.
//
// It runs as "go generate ./core/protocol", reads every *.schema file and writes one generated_*.go for
// each, and generated_keys.go and generated_records.go with the tables over all of them. The output depends on the schemas
// alone, byte for byte; a test compares it with the committed files.
//
// # Notation
//
// One fact a line, words separated by blanks, nesting by two blanks of indentation, # for comments.
//
//	key 1 Fetch                           the API key that this file describes, and its name; from 30000 on it is our own
//	retired                               the key's only line if no version of it is spoken any more
//
//	request 4-18 flexible 12+             a body: its versions, those with compact lengths and tagged fields
//	response 0-6 flexible 2+ unstable 6   the newest versions are not stable yet: never advertise them
//	  ErrorCode int16                     a field and its type, in every version of what it stands in
//	  SessionId int32 7+ = -1             in versions 7 and later only, with a default that is not zero
//	  Name      string 0-12 ignorable     if set, and the version lacks it, drop it instead of failing
//	  Topics    []Topic null 1+ = null    null is allowed from version 1, and the default
//	    Name string                       the fields of the struct that the line above introduces
//	  State     State 15+ tag 1           a tagged field: sent only if it is not at its default
//	  Owner     Owner                     a struct that is introduced elsewhere in the same body
//	  struct Owner 2+                     a struct that several fields use, after the fields
//	    Name string
//
// Types are bool, int8, int16, int32, int64, uint16, uint32, float64, string, bytes, records, uuid, key
// (an int16 that is an API key), a struct, or an array of one of int8, int16, int32, int64, string, uuid or a struct, written
// []type. "inflexible" after a string keeps its old length in flexible versions (the client id of a header).
//
// Other bodies stand in files without a key line:
//
//	header RequestHeader 0-2 flexible 2+         a header
//	data EndTxnMarker 0                          a structure inside something else
//	metadata 2 TopicRecord 0 flexible 0+         record type 2 of the cluster metadata log
//	group-key 1 OffsetCommitKey 0                likewise for the logs of the coordinators (group, transaction,
//	group-value 1 OffsetCommitValue 0-4          share; key and value) and for remote-log
//
// # Names
//
// Go names are the schema's with Go's initialisms (TopicId becomes TopicID). A struct inside a body is
// named after both: struct Topic in request Fetch is FetchRequestTopic.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	schemas := flag.String("schema", "schema", "directory of the schema files")
	out := flag.String("out", ".", "directory of the generated files")
	flag.Parse()
	if err := run(*schemas, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run generates into out and removes generated files that no schema makes any more.
func run(schemaDir, outDir string) error {
	files, err := generate(schemaDir)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(outDir, "generated_*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := files[filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, content := range files {
		path := filepath.Join(outDir, name)
		if before, err := os.ReadFile(path); err == nil && bytes.Equal(before, content) {
			continue
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate reads every schema in dir and returns the generated files by name.
func generate(dir string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.schema"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: no *.schema files", dir)
	}
	slices.Sort(paths)
	var all []*schema
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		s, err := parse(filepath.Base(path), string(content))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if err := checkNames(all); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, s := range all {
		if len(s.bodies) == 0 {
			continue
		}
		name := "generated_" + strings.TrimSuffix(s.file, ".schema") + ".go"
		if files[name], err = emitBodies(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	if files["generated_keys.go"], err = emitKeys(all); err != nil {
		return nil, err
	}
	if files["generated_records.go"], err = emitRecords(all); err != nil {
		return nil, err
	}
	return files, nil
}
