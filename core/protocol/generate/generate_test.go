package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weirmq/weir/core/protocol"
)

func TestRegeneratingChangesNothing(t *testing.T) {
	files, err := generate("../schema")
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := filepath.Glob("../generated_*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range onDisk {
		if _, ok := files[filepath.Base(path)]; !ok {
			t.Errorf("%s comes from no schema", path)
		}
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the schemas say (%v): run go generate ./core/protocol", name, err)
		}
	}
	again, err := generate("../schema")
	if err != nil || !reflect.DeepEqual(files, again) {
		t.Errorf("two runs differ (%v)", err)
	}
}

// TestStructLayoutsAreTheCompilers compares what the budget is charged for an element with its size.
func TestStructLayoutsAreTheCompilers(t *testing.T) {
	sizes := map[string]uintptr{}
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			if _, ok := sizes[typ.Name()]; ok {
				return
			}
			sizes[typ.Name()] = typ.Size()
			for i := range typ.NumField() {
				walk(typ.Field(i).Type)
			}
		}
	}
	for place := range protocol.KeyPlaceCount {
		k := protocol.KeyAt(place)
		for _, m := range []protocol.Message{protocol.NewRequest(k), protocol.NewResponse(k)} {
			if m != nil {
				walk(reflect.TypeOf(m))
			}
		}
	}
	for kind := range int16(64) {
		for _, rec := range []protocol.Record{protocol.NewMetadataRecord(kind), protocol.NewGroupValue(kind), protocol.NewTransactionValue(kind)} {
			if rec != nil {
				walk(reflect.TypeOf(rec))
			}
		}
	}
	paths, err := filepath.Glob("../schema/*.schema")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(path, string(content))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.bodies {
			for _, st := range append([]*structure{b.top}, b.structs...) {
				want, ok := sizes[st.goName]
				if !ok {
					continue
				}
				compared++
				if got := structAlloc(st); uintptr(got) != want {
					t.Errorf("%s: %d bytes, the compiler says %d", st.goName, got, want)
				}
			}
		}
	}
	if compared < 400 {
		t.Errorf("only %d structs compared", compared)
	}
}

// TestNoByteCostsMoreThan32 bounds what a frame can make its reader allocate, whatever the budget.
func TestNoByteCostsMoreThan32(t *testing.T) {
	paths, err := filepath.Glob("../schema/*.schema")
	if err != nil || len(paths) < 100 {
		t.Fatal(len(paths), err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(path, string(content))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.bodies {
			for _, st := range b.structs {
				for v := st.versions.from; v <= st.versions.to; v++ {
					if wire, memory := structBytesMin(b, st, v), structAlloc(st); memory > 32*wire {
						t.Errorf("%s v%d: %d bytes of memory for %d on the wire", st.goName, v, memory, wire)
					}
				}
			}
		}
	}
}

// TestMinimumSizesAreExact encodes an element at its leanest: the count check divides by this size.
func TestMinimumSizesAreExact(t *testing.T) {
	compared := 0
	for place := range protocol.KeyPlaceCount {
		k := protocol.KeyAt(place)
		if protocol.NewRequest(k) == nil {
			continue
		}
		paths, err := filepath.Glob(filepath.Join("../schema", "*.schema"))
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(paths[slices.IndexFunc(paths, func(p string) bool {
			return strings.HasPrefix(filepath.Base(p), fmt.Sprintf("%03d_", k))
		})])
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse("", string(content))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range []protocol.Message{protocol.NewRequest(k), protocol.NewResponse(k)} {
			b := s.bodies[i]
			for v := b.versions.from; v <= b.versions.to; v++ {
				m.Default()
				var w protocol.Writer
				m.Encode(&w, int16(v))
				if w.Err() != nil {
					continue // a default of null where the version allows none
				}
				compared++
				if got := structBytesMin(b, b.top, v); got != w.Len() {
					t.Errorf("%s v%d: at least %d bytes, its defaults take %d", b.top.name, v, got, w.Len())
				}
			}
		}
	}
	if compared < 600 {
		t.Errorf("only %d bodies compared", compared)
	}
}

func TestBadSchemasAreRefusedWithTheirLine(t *testing.T) {
	const head = "key 1 Ping\n\nrequest 0-3 flexible 2+\n"
	const tail = "\nresponse 0-3 flexible 2+\n"
	for _, c := range []struct{ name, text, want string }{
		{"unknown word", "hello 1\n", `x.schema:1: "hello" begins nothing`},
		{"unknown type", head + "  A int33\n" + tail, `x.schema:4: "int33" is no type`},
		{"array of bool", head + "  A []bool\n" + tail, `x.schema:4: "[]bool" is no type`},
		{"odd indentation", head + "   A int8\n" + tail, `x.schema:4: indentation`},
		{"too deep", head + "  A int8\n    B int8\n" + tail, `x.schema:5: A is no struct`},
		{"too deep at once", head + "    B int8\n" + tail, `x.schema:4: indented too far`},
		{"open range of a body", "key 1 Ping\nrequest 0+\n", `x.schema:2: "0+" is no closed version range`},
		{"backward range", head + "  A int8 3-2\n" + tail, `x.schema:4: "3-2" is no version range`},
		{"range outside the body", head + "  A int8 2-9\n" + tail, `x.schema:4: versions 2-9 are not within 0-3`},
		{"null int", head + "  A int8 null\n" + tail, `x.schema:4: int8 cannot be null`},
		{"null outside the field", head + "  A string 2+ null 1+\n" + tail, `x.schema:4: versions 1+ are not within`},
		{"tag before flexible", head + "  A int8 tag 0\n" + tail, `x.schema:4: tagged in versions 0-3, flexible only in 2+`},
		{"tag twice", head + "  A int8 2+ tag 0\n  B int8 2+ tag 0\n" + tail, `x.schema:5: tag 0 is already that of A`},
		{"tagged records", head + "  A records 2+ tag 0\n" + tail, `x.schema:4: records cannot be tagged`},
		{"field twice", head + "  TopicId int8\n  TopicID int8\n" + tail, `x.schema:5: TopicID stands already at line 4`},
		{"default null of a field never null", head + "  A string = null\n" + tail, `x.schema:4: null is the default`},
		{"default of the wrong type", head + "  A int8 = yes\n" + tail, `x.schema:4: "yes" is no default of int8`},
		{"default of an array", head + "  A []int8 = 3\n" + tail, `x.schema:4: int8 can have no default but null`},
		{"unknown attribute", head + "  A int8 shiny\n" + tail, `x.schema:4: "shiny" makes no sense here`},
		{"missing struct", head + "  A []Nothing\n" + tail, `x.schema:4: no struct Nothing in this body`},
		{"struct twice", head + "  A []S\n    X int8\n  B []S\n    X int8\n" + tail, `x.schema:6: struct S is already introduced at line 4`},
		{"struct too young", head + "  A []S\n  struct S 2+\n    X int8\n" + tail, `x.schema:4: struct S exists in versions 2-3, A needs it in 0-3`},
		{"struct of itself", head + "  A []S\n    B []S\n" + tail, `x.schema:5: S contains itself`},
		{"element without bytes", head + "  A []S\n    X int8 1+\n" + tail, `x.schema:4: an element of A takes no bytes in version 0`},
		{"nullable struct without default", head + "  A S null\n    X int8\n" + tail, `x.schema:4: a nullable struct needs`},
		{"response missing", head, `x.schema:1: a key has one request, then one response`},
		{"versions differ", head + "\nresponse 0-2 flexible 2+\n", `x.schema:5: request and response differ`},
		{"request without key", "request 0-3\n", `x.schema:1: request without a key line above`},
		{"key twice", "key 1 A\nkey 2 B\n", `x.schema:2: want one line`},
		{"retired with bodies", head + "retired\n", `x.schema:4: "retired" stands alone`},
	} {
		_, err := parse("x.schema", c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %s", c.name, err, c.want)
		}
	}
}

func TestNamesThatWouldNotCompileAreRefused(t *testing.T) {
	for _, c := range []struct{ name, a, b, want string }{
		{"two keys of one number", "key 1 A\nretired\n", "key 1 B\nretired\n", "b:1: key 1 is already at a:1"},
		{"two records of one type", "metadata 1 A 0\n", "metadata 1 B 0\n", "b:1: metadata 1 is already at a:1"},
		{"two types of one name", "data AB 0\n  X int8\n", "data A 0\n  X []B\n    Y int8\n", "b:2: Go name AB is already at a:1"},
		{"a field like a method", "data A 0\n  Default int8\n", "data B 0\n", "a:2: the field Default would hide a method"},
	} {
		var all []*schema
		for i, text := range []string{c.a, c.b} {
			s, err := parse(string(rune('a'+i)), text)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if err := checkNames(all); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %s", c.name, err, c.want)
		}
	}
}

func TestGoNames(t *testing.T) {
	for name, want := range map[string]string{
		"TopicId": "TopicID", "ProducerIds": "ProducerIDs", "ApiKey": "APIKey", "DescribeAcls": "DescribeACLs",
		"Identity": "Identity", "TopicIdPartitions": "TopicIDPartitions", "KRaftVersion": "KRaftVersion", "Enable2Pc": "Enable2Pc",
	} {
		if got := goName(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}

func TestRunRemovesFilesOfSchemasThatAreGone(t *testing.T) {
	schemas, out := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(schemas, "001_ping.schema"), "key 1 Ping\nrequest 0\n  A int8\nresponse 0\n  A int8\n")
	write(filepath.Join(out, "generated_002_gone.go"), "package protocol\n")
	write(filepath.Join(out, "kept.go"), "package protocol\n")
	if err := run(schemas, out); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(out, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	if want := []string{"generated_001_ping.go", "generated_keys.go", "generated_records.go", "kept.go"}; !slices.Equal(names, want) {
		t.Errorf("%v, not %v", names, want)
	}
	if err := run(t.TempDir(), out); err == nil {
		t.Error("no schemas are no error")
	}
}
