package main

// fieldBytesMin is the least that a field takes on the wire in a version of its body.
func fieldBytesMin(b *body, f *field, v int) int {
	if !f.versions.has(v) || f.tag >= 0 {
		return 0
	}
	flexible := b.flexible.has(v) && !f.inflexible
	switch {
	case f.array, f.kind == "bytes", f.kind == "records":
		if flexible {
			return 1
		}
		return 4
	case f.kind == "string":
		if flexible {
			return 1
		}
		return 2
	case f.pointer():
		return 1
	case f.kind == "struct":
		return structBytesMin(b, f.structure, v)
	}
	size, _ := goLayout(f.kind)
	return size
}

// structBytesMin is the least that a struct takes on the wire in a version of its body.
func structBytesMin(b *body, s *structure, v int) int {
	n := 0
	for _, f := range s.fields {
		n += fieldBytesMin(b, f, v)
	}
	if b.flexible.has(v) {
		n++ // the count of tagged fields
	}
	return n
}

// goLayout is the size and alignment of a primitive's Go type on a 64-bit machine. For those of fixed length it is
// the size on the wire, too.
func goLayout(kind string) (size, align int) {
	switch kind {
	case "bool", "int8":
		return 1, 1
	case "int16", "uint16", "key":
		return 2, 2
	case "int32", "uint32":
		return 4, 4
	case "int64", "float64":
		return 8, 8
	case "uuid":
		return 16, 1
	case "string":
		return 16, 8
	case "bytes":
		return 24, 8
	case "records":
		return 56, 8
	}
	panic("no layout of " + kind)
}

func fieldLayout(f *field) (size, align int) {
	switch {
	case f.array:
		return 24, 8
	case f.pointer():
		return 8, 8
	case f.kind == "struct":
		return structLayout(f.structure)
	case f.kind == "string" && f.nullableEver():
		return 24, 8
	}
	return goLayout(f.kind)
}

// structLayout is the size and alignment of a struct's Go type on a 64-bit machine: what one element of an array
// costs the budget. A test compares it with the compiler's.
func structLayout(s *structure) (size, align int) {
	align = 1
	for _, f := range s.fields {
		n, a := fieldLayout(f)
		size = (size+a-1)/a*a + n
		align = max(align, a)
	}
	return (size + align - 1) / align * align, align
}
